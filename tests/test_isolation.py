"""Each service stands alone: what it can import is its own, is in its image, and is among its dependencies.

Imports are followed in the source, so lazy ones count and nothing needs to be installed. `make isolation` does the same
for real, in an environment per service.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = ("ingest", "enrich", "indexer", "cg", "ranker", "blender", "quota")
ROOMS = {"chassis", "protos", "services", "sequences", "modeling", "definitions", "corkboard"}
# Modules whose distribution has another name; the longest prefix counts.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "faiss": "faiss-cpu",
    "faust": "faust-streaming",
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc_status": "grpcio-status",
    "jwt": "pyjwt",
    "mode": "faust-streaming",  # Faust's own base, which it always brings
    "opentelemetry": "opentelemetry-api",
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry.sdk": "opentelemetry-sdk",
}

# Imports inside a function that runs only for services whose own source has the given words. Anywhere else, and at the
# top of a file, an import counts for everybody who reaches the file.
ON_DEMAND = {
    ("chassis/kafka/bus.py", "chassis.kafka.faust_app"): "bus.pipeline(",
    ("sequences/engine/image_features.py", "PIL"): "sequences.engine.engine",
}

# Imports of a package that is not in the service's own dependencies: where it is absent, a clear error says so.
OPTIONAL = {
    ("services/blender/app/slate_loop.py", "services.blender.domain.slate_compiled"),
    ("sequences/engine/sentence_encoder.py", "model2vec"),
    *(("services/cg/offline/ray_workers.py", name) for name in ("ray", "ray.train", "ray.train.torch")),
}


@dataclass(frozen=True)
class Import:
    """One imported dotted name."""

    name: str
    is_lazy: bool


@dataclass
class Closure:
    """Everything that a service can come to import: files of this repository, and modules of others."""

    files: set[Path] = field(default_factory=set)
    foreign: dict[str, str] = field(default_factory=dict)  # module -> one file that imports it


def imports(tree: ast.AST, is_lazy: bool = False) -> Iterator[Import]:
    """What `tree` imports, at the top or inside functions, but not what is for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(ast.Module(node.orelse, []), is_lazy)
        elif isinstance(node, ast.Import):
            yield from (Import(alias.name, is_lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from (Import(name, is_lazy) for name in names)
        else:
            yield from imports(node, is_lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def is_never_run(importer: str, found: Import, own_source: str) -> bool:
    """Whether this import stands in a function that a service with `own_source` never calls, or may fail."""
    if (importer, found.name) in OPTIONAL or (importer, found.name.rpartition(".")[0]) in OPTIONAL:
        return True
    words = [
        words
        for (path, module), words in ON_DEMAND.items()
        if path == importer and f"{found.name}.".startswith(f"{module}.")
    ]
    return found.is_lazy and bool(words) and words[0] not in own_source


def files_of(module: str, root: Path) -> list[Path]:
    """The file of a first-party module and the `__init__` files above it; none when it is a name inside a module."""
    path = root.joinpath(*module.split("."))
    candidates = [path.with_suffix(".py"), path / "__init__.py"]
    found = [candidate for candidate in candidates if candidate.exists()]
    parents = [folder / "__init__.py" for folder in path.parents if folder.is_relative_to(root) and folder != root]
    return [*found, *(parent for parent in parents if parent.exists())] if found else []


def closure(starts: list[Path], root: Path, own_source: str = "") -> Closure:
    """Follow imports from `starts` through the rooms under `root`; `own_source` is all that the service itself says."""
    result, waiting = Closure(), list(starts)
    while waiting:
        path = waiting.pop()
        if path in result.files:
            continue
        result.files.add(path)
        importer = str(path.relative_to(root))
        for found in imports(ast.parse(path.read_text())):
            if is_never_run(importer, found, own_source):
                continue
            if found.name.split(".")[0] in ROOMS:
                waiting += files_of(found.name, root)
            else:
                result.foreign.setdefault(found.name, importer)
    return result


def starts(service: str) -> list[Path]:
    """What is run of a service: the process and its offline jobs."""
    folder = ROOT / "services" / service
    return [folder / "__main__.py", *(folder / "offline").glob("*.py")]


def source_of(service: str) -> str:
    """All that the service's own files say, without its tests."""
    files = (ROOT / "services" / service).rglob("*.py")
    return "\n".join(file.read_text() for file in files if "tests" not in file.parts)


def copied(service: str) -> list[str]:
    """Paths of the repository that the service's Dockerfile copies."""
    lines = (ROOT / "services" / service / "Dockerfile").read_text().splitlines()
    words = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and not line.startswith("COPY --")]
    return [path for paths in words for path in paths]


def distribution(module: str) -> str:
    """The distribution that `module` comes from, in its normal spelling."""
    parts = module.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    name = next((DISTRIBUTIONS[prefix] for prefix in prefixes if prefix in DISTRIBUTIONS), parts[0])
    return name.lower().replace("_", "-")


def dependencies(service: str) -> set[str]:
    """Distributions that an environment with the service's extra has by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"][service]
    names = [re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in wanted]
    return {name.lower().replace("_", "-") for name in names}


def is_standard(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def reached(service: str) -> Closure:
    return closure(starts(service), ROOT, source_of(service))


def test_a_service_reaches_no_other_service(service: str, reached: Closure) -> None:
    rooms = {path.relative_to(ROOT).parts[1] for path in reached.files if path.is_relative_to(ROOT / "services")}
    assert rooms - {"__init__.py"} == {service}


def test_an_image_has_all_that_its_service_imports(service: str, reached: Closure) -> None:
    folders = [ROOT / path for path in copied(service)]
    missing = [path for path in reached.files if not any(path.is_relative_to(folder) for folder in folders)]
    assert sorted(str(path.relative_to(ROOT)) for path in missing) == []


def test_an_image_has_no_folder_that_its_service_does_not_import(service: str, reached: Closure) -> None:
    folders = [path for path in copied(service) if (ROOT / path).is_dir()]
    unused = [path for path in folders if not any(file.is_relative_to(ROOT / path) for file in reached.files)]
    assert unused == []


def test_an_image_copies_only_what_exists(service: str) -> None:
    assert [path for path in copied(service) if not (ROOT / path).exists()] == []


def test_a_service_depends_on_all_that_it_imports(service: str, reached: Closure) -> None:
    known = dependencies(service)
    unknown = {
        f"{importer} imports {module}, which {distribution(module)} provides"
        for module, importer in reached.foreign.items()
        if not is_standard(module) and distribution(module) not in known
    }
    assert sorted(unknown) == []


def test_lazy_imports_count_and_those_for_type_checkers_do_not(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "other.py").write_text("import torch\n")
    start = tmp_path / "start.py"
    start.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import redis\nelse:\n    import duckdb\n"
        "def later():\n    try:\n        from services.other import thing\n"
        "    except ImportError:\n        import faust\n"
    )
    found = closure([start], tmp_path)
    assert tmp_path / "services" / "other.py" in found.files
    assert {"torch", "faust", "duckdb"} <= set(found.foreign) and "redis" not in found.foreign


def test_the_distribution_of_a_module_is_the_longest_known() -> None:
    assert distribution("opentelemetry.sdk.trace") == "opentelemetry-sdk"
    assert distribution("opentelemetry.trace") == "opentelemetry-api"
    assert distribution("prometheus_client") == "prometheus-client"


def test_an_import_on_demand_counts_for_who_demands_it_or_when_it_is_at_the_top() -> None:
    importer, faust = "chassis/kafka/bus.py", "chassis.kafka.faust_app"
    assert is_never_run(importer, Import(faust, is_lazy=True), "shell.bus.consumer(")
    assert not is_never_run(importer, Import(faust, is_lazy=True), "shell.bus.pipeline(")
    assert not is_never_run(importer, Import(faust, is_lazy=False), "shell.bus.consumer(")
    assert not is_never_run("chassis/shell.py", Import(faust, is_lazy=True), "")
