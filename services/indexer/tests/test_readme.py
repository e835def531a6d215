"""The configuration table of the README says what Config says."""

from pathlib import Path

from services.indexer.config import Config

README = Path(__file__).parents[1] / "README.md"


def table() -> str:
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Config.model_fields.items():
        default = "" if field.default == "" else f"`{field.default}`"
        rows.append(f"| `INDEXER_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def test_configuration_table_is_the_generated_one() -> None:
    text = README.read_text()
    between = text.split("<!-- configuration: generated from Config -->")[1].split("<!-- end of configuration -->")[0]
    assert between.strip() == table()
