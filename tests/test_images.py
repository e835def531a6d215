"""Images: the services share the layers that they can, and torch comes only where a model is hosted."""

from importlib.metadata import Distribution
from pathlib import Path

import pytest

from scripts.lean_torch import needed
from scripts.requirements_of import requirements

ROOT = Path(__file__).parents[1]
DOCKERFILES = sorted((ROOT / "services").glob("*/Dockerfile"))
WITH_TORCH = ("cg", "ranker")


def steps(path: Path) -> list[list[str]]:
    """The instructions of each stage, without comments; a continued line is one instruction."""
    text = path.read_text().replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    starts = [at for at, line in enumerate(lines) if line.startswith("FROM ")]
    return [lines[at:end] for at, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def test_there_is_one_for_each_service() -> None:
    assert [path.parent.name for path in DOCKERFILES] == [
        "blender",
        "cg",
        "enrich",
        "indexer",
        "ingest",
        "quota",
        "ranker",
    ]


@pytest.mark.parametrize("path", [*DOCKERFILES, ROOT / "charts" / "dev-servers" / "tools.Dockerfile"], ids=str)
def test_the_first_layers_are_those_of_every_other(path: Path) -> None:
    shared = steps(DOCKERFILES[0])[0][1:4]
    assert shared[-1].startswith("RUN python requirements_of.py >")
    assert steps(path)[0][1:4] == shared


def test_torch_is_one_layer_for_both_that_have_it() -> None:
    cg, ranker = (steps(ROOT / "services" / name / "Dockerfile") for name in WITH_TORCH)
    assert cg[:2] == ranker[:2]
    assert cg[-1][1] == ranker[-1][1] == "COPY --from=torch /torch /usr/local/lib/python3.11/site-packages"


def test_nobody_else_has_torch() -> None:
    for path in DOCKERFILES:
        if path.parent.name not in WITH_TORCH:
            assert "torch" not in path.read_text()
    (root,) = [stage for stage in steps(ROOT / "services" / "ranker" / "Dockerfile") if stage[0].endswith("AS root")]
    assert root[0] == "FROM base AS root"
    assert not [line for line in root if "torch" in line or line.startswith("RUN")]


@pytest.mark.parametrize("path", DOCKERFILES, ids=str)
def test_the_process_is_a_user_by_number(path: Path) -> None:
    final = [stage for stage in steps(path) if stage[-1].startswith("ENTRYPOINT")]
    assert final and all("USER 10001" in stage for stage in final), "runAsNonRoot wants a number"


def test_an_extra_can_be_installed_without_one_of_its_packages() -> None:
    project = ROOT / "pyproject.toml"
    whole, rest = requirements(project, "cg"), requirements(project, "cg", "torch")
    assert len(rest) == len(whole) - 1
    assert not [each for each in rest if each.startswith("torch")]
    with pytest.raises(KeyError):
        requirements(project, "no-such-extra")


def test_what_torch_needs_without_a_gpu(tmp_path: Path) -> None:
    lines = ["Metadata-Version: 2.1", "Name: torch", "Version: 9"]
    lines += [f"Requires-Dist: {each}" for each in ("sympy>=1.13", 'cuda-toolkit[cublas,cudart]==13.2.2; x == "y"')]
    lines += [f"Requires-Dist: {each}" for each in ("nvidia-nccl-cu13==2", "triton~=3.9", "cuda-bindings<14")]
    lines += ['Requires-Dist: optree; extra == "optree"', ""]
    folder = tmp_path / "torch-9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("\n".join(lines))
    assert needed(Distribution.at(folder)) == ["sympy>=1.13", "cuda-toolkit[cudart,cupti]==13.2.2"]


def test_the_servers_image_has_all_that_its_modules_import() -> None:
    copied = set()
    for step in steps(ROOT / "charts" / "dev-servers" / "Dockerfile")[0]:
        if step.startswith("COPY "):
            copied |= {Path(source) for source in step.split()[1:-1] if source.endswith(".py")}
    imported = set()
    for path in copied:
        for line in (ROOT / path).read_text().splitlines():
            if line.startswith(("from chassis", "from corkboard")):
                imported.add(Path(line.split()[1].replace(".", "/") + ".py"))
    assert imported and imported <= copied
