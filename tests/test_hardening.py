"""What no code of ours does: run what it reads, or tell who a person is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("chassis", "protos", "services", "sequences", "modeling", "definitions", "corkboard")
RUNS_WHAT_IT_READS = {"pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "joblib", "jsonpickle"}
SAFE_BY = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "os.system",
    "os.popen",
}
PERSONAL = {"user_id", "user_ids"}
SAID = {"debug", "info", "warning", "error", "exception"}


def sources() -> list[Path]:
    """Of what runs; tests are free to build what the code refuses."""
    return [
        path
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if "tests" not in path.parts and "_pb2" not in path.name
    ]


def name_of(call: ast.Call) -> str:
    """`torch.load` of `torch.load(x)`."""
    return ast.unparse(call.func)


def imports_that_run(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name for name in names if name.split(".")[0] in RUNS_WHAT_IT_READS)


def unsafe_calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node)
        if name in FORBIDDEN_CALLS:
            yield f"{name} in line {node.lineno}"
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if given.get("shell") == "True" or given.get("allow_pickle") == "True":
            yield f"{name} in line {node.lineno} with {given}"
        word, wanted = SAFE_BY.get(name, ("", None))
        if word and given.get(word) != str(wanted):
            yield f"{name} in line {node.lineno} without {word}={wanted}"


def people_told(tree: ast.AST) -> Iterator[str]:
    """Texts of errors and log lines into which a user's id itself goes; its length may be told."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield from _ids_in(node.exc)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SAID:
            yield from _ids_in(node)


def _ids_in(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.FormattedValue) and ast.unparse(part.value).split(".")[-1] in PERSONAL:
            yield f"line {part.lineno}: {ast.unparse(part)}"


def found(look: object) -> dict[str, list[str]]:
    told = {str(path.relative_to(ROOT)): list(look(ast.parse(path.read_text()))) for path in sources()}  # type: ignore[operator]
    return {path: what for path, what in told.items() if what}


def test_nothing_that_runs_what_it_reads_is_imported() -> None:
    assert found(imports_that_run) == {}


def test_models_and_arrays_are_read_without_code() -> None:
    assert found(unsafe_calls) == {}


def test_no_error_and_no_log_line_tells_who_a_person_is() -> None:
    assert found(people_told) == {}


@pytest.mark.parametrize(
    ("text", "look"),
    [
        ("import pickle", imports_that_run),
        ("from cloudpickle import loads", imports_that_run),
        ("torch.load(path)", unsafe_calls),
        ("np.load(path, allow_pickle=True)", unsafe_calls),
        ("subprocess.run(x, shell=True)", unsafe_calls),
        ("eval(text)", unsafe_calls),
        ('raise Invalid(f"{ask.user_id} is unknown")', people_told),
        ('log.warning("x", error=f"of {user_id!r}")', people_told),
    ],
)
def test_the_checks_find_what_they_are_for(text: str, look: object) -> None:
    assert list(look(ast.parse(text)))  # type: ignore[operator]


def test_the_length_of_an_id_may_be_told() -> None:
    assert not list(people_told(ast.parse('raise Invalid(f"user_id has {len(ask.user_id)} characters")')))
