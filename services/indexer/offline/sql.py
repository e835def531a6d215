"""Read-only SQL over the lake: `python -m services.indexer.offline.sql "select count(*) from events_enriched"`."""

import argparse
import json
import sys
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from chassis.config import load
from chassis.errors import Invalid
from services.indexer.config import Config
from services.indexer.domain.lake_rows import Table
from services.indexer.ports import Lake
from services.indexer.wiring import iceberg_lake


def query(lake: Lake, statement: str) -> pa.Table:
    """The answer to one SELECT over the lake's tables. Raises: Invalid, Unavailable."""
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        try:
            statements = connection.extract_statements(statement)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise Invalid("exactly one SELECT is answered", field="statement", reason="not_a_select")
            for table in Table:
                rows = lake.read(table)
                if rows.num_columns:
                    connection.register(table.table_name, rows)
            # After registration the engine may open no file, load no extension and change no setting.
            connection.execute("SET enable_external_access = false; SET lock_configuration = true")
            return connection.sql(statement).to_arrow_table()
        except duckdb.Error as error:
            raise Invalid(f"not answered: {error}", field="statement", reason="bad_sql") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one JSON object per row; settings come from INDEXER_* like the service's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("statement", help="one SELECT; tables: " + ", ".join(table.table_name for table in Table))
    arguments = parser.parse_args(argv)
    for row in query(iceberg_lake(load(Config, "INDEXER_")), arguments.statement).to_pylist():
        sys.stdout.write(json.dumps(row, default=str, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
