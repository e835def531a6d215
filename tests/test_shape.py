"""The floor plan holds: every service has its rooms under their names, and nothing else."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = ("ingest", "enrich", "indexer", "cg", "ranker", "blender", "quota")
FILES = {"README.md", "Dockerfile", "__init__.py", "__main__.py", "config.py", "wiring.py", "ports.py"}
ROOMS = {"app", "domain", "inbound", "outbound", "offline", "tests"}
REQUIRED = {"README.md", "Dockerfile", "__main__.py", "config.py", "wiring.py", "app", "inbound", "tests"}
TECHNOLOGIES = (
    "grpc_",
    "kafka_",
    "redis_",
    "sqlite_",
    "duckdb_",
    "postgres_",
    "sql_",
    "iceberg_",
    "kubernetes_",
    "prometheus_",
    "in_memory_",
    "bundle_",
    "numpy_",
    "json_",
    "torch_",
    "prometheus_",
)
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "base", "misc"}
MAX_LINES = 300
MAX_TEST_LINES = 400


def sources() -> list[Path]:
    rooms = (
        "chassis",
        "protos",
        "services",
        "sequences",
        "modeling",
        "definitions",
        "corkboard",
        "e2e",
        "bench",
        "tests",
    )
    return [path for room in rooms for path in (ROOT / room).rglob("*.py") if "_pb2" not in path.name]


def test_the_services_are_the_seven() -> None:
    found = {path.name for path in (ROOT / "services").iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert found == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_its_rooms_and_no_others(service: str) -> None:
    found = {path.name for path in (ROOT / "services" / service).iterdir() if path.name != "__pycache__"}
    assert found >= REQUIRED, f"missing: {sorted(REQUIRED - found)}"
    assert found <= FILES | ROOMS, f"unknown rooms: {sorted(found - FILES - ROOMS)}"


@pytest.mark.parametrize("service", SERVICES)
def test_main_is_short(service: str) -> None:
    lines = (ROOT / "services" / service / "__main__.py").read_text().splitlines()
    assert len(lines) <= 14, f"{len(lines)} lines: load config, build, run; nothing else"


@pytest.mark.parametrize("service", SERVICES)
def test_outbound_files_name_one_technology(service: str) -> None:
    folder = ROOT / "services" / service / "outbound"
    names = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"] if folder.exists() else []
    assert [name for name in names if not name.startswith(TECHNOLOGIES)] == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    named = [path for path in sources() if path.stem in FORBIDDEN_NAMES or path.parent.name in FORBIDDEN_NAMES]
    assert [str(path.relative_to(ROOT)) for path in named if "protos/common" not in str(path)] == []


def test_no_file_is_longer_than_a_reader_bears() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources()}
    limits = {path: MAX_TEST_LINES if "tests" in path.parts else MAX_LINES for path in lengths}
    assert {str(path.relative_to(ROOT)): lengths[path] for path in lengths if lengths[path] > limits[path]} == {}


def test_every_module_says_why_it_exists() -> None:
    texts = {path: path.read_text() for path in sources()}
    silent = [path for path, text in texts.items() if text.strip() and not ast.get_docstring(ast.parse(text))]
    assert [str(path.relative_to(ROOT)) for path in silent] == []


def test_every_room_has_a_map() -> None:
    rooms = ["chassis", "protos", "sequences", "modeling", "definitions", "corkboard", "e2e", "bench", "charts", "docs"]
    rooms += [f"services/{service}" for service in SERVICES]
    missing = [room for room in rooms if (ROOT / room).exists() and not (ROOT / room / "README.md").exists()]
    assert missing == []
