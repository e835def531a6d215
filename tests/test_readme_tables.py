"""The tables in READMEs say what the code says."""

import pytest

from scripts import readme_tables
from scripts.readme_tables import BEGIN, END


@pytest.mark.parametrize("service", readme_tables.services())
def test_the_configuration_table_is_fresh(service: str) -> None:
    text = readme_tables.readme_of(service).read_text()
    assert readme_tables.fresh(service, text) == text, "run: make docs"


@pytest.mark.parametrize("service", readme_tables.services())
def test_every_setting_has_a_description(service: str) -> None:
    rows = readme_tables.table(service).splitlines()[2:]
    assert [row for row in rows if row.endswith("|  |")] == []


def test_a_stale_table_is_noticed_and_made_anew() -> None:
    stale = f"before\n{BEGIN}\n| old |\n{END}\nafter\n"
    made = readme_tables.fresh("quota", stale)
    assert made != stale
    assert made.startswith(f"before\n{BEGIN}\n| field |") and made.endswith(f"{END}\nafter\n")
    assert readme_tables.fresh("quota", made) == made


def test_a_readme_without_markers_is_named() -> None:
    with pytest.raises(ValueError, match="services/quota/README"):
        readme_tables.fresh("quota", "no markers")
