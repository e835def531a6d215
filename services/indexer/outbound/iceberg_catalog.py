"""Opens the catalog that all tables of the lake are in."""

from collections.abc import Mapping
from pathlib import Path

from pyiceberg.catalog import Catalog, load_catalog
from sqlalchemy.exc import DBAPIError

MAX_ATTEMPTS = 5  # more than a catalog has tables


def open_catalog(folder: str, properties: Mapping[str, str]) -> Catalog:
    """SQLite and local files in `folder`, or what pyiceberg's catalog `properties` say over that."""
    root = Path(folder).absolute()
    root.mkdir(parents=True, exist_ok=True)
    defaults = {
        "type": "sql",
        "uri": f"sqlite:///{root / 'catalog.db'}",
        "warehouse": f"file://{root / 'warehouse'}",  # pyiceberg takes the path as it stands, it decodes no %20
        "init_catalog_tables": "true",
    }
    settings = defaults | dict(properties)
    num_left = MAX_ATTEMPTS
    while True:
        num_left -= 1
        try:
            return load_catalog("corkboard", **settings)
        except DBAPIError as error:  # somebody else makes the catalog's tables at the same time, one after the other
            if "already exists" not in str(error) or not num_left:
                raise
