"""The contracts: stubs are fresh, every field says what it is, and nothing that was released changes its meaning."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[1]
RELEASED = ROOT / "protos" / "released.json"
PROTOS = sorted(path.relative_to(ROOT) for path in (ROOT / "protos").rglob("*.proto"))
Field = descriptor_pb2.FieldDescriptorProto


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> descriptor_pb2.FileDescriptorSet:
    path = tmp_path_factory.mktemp("protos") / "all.binpb"
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I",
        ".",
        f"--descriptor_set_out={path}",
        "--include_source_info",
    ]
    subprocess.run([*command, *map(str, PROTOS)], cwd=ROOT, check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())


def shape(descriptors: descriptor_pb2.FileDescriptorSet) -> dict[str, dict[str, str]]:
    """message or enum -> number -> what it means on the wire."""
    found: dict[str, dict[str, str]] = {}
    for file in descriptors.file:
        for message in file.message_type:
            fields = {str(field.number): f"{field.name}: {_type(field)}" for field in message.field}
            found[f"{file.package}.{message.name}"] = fields
        for enum in file.enum_type:
            found[f"{file.package}.{enum.name}"] = {str(value.number): value.name for value in enum.value}
        for service in file.service:
            methods = {method.name: f"{method.input_type} -> {method.output_type}" for method in service.method}
            found[f"{file.package}.{service.name}"] = methods
    return found


def broken(released: dict[str, dict[str, str]], current: dict[str, dict[str, str]]) -> list[str]:
    """What was released and no longer means the same, in words."""
    return [
        f"{name} {number}: {meaning!r} became {current.get(name, {}).get(number)!r}"
        for name, numbers in released.items()
        for number, meaning in numbers.items()
        if current.get(name, {}).get(number) != meaning
    ]


def _type(field: Field) -> str:
    repeated = "repeated " if field.label == Field.LABEL_REPEATED else ""
    return repeated + (field.type_name or Field.Type.Name(field.type).removeprefix("TYPE_").lower())


def test_nothing_released_was_broken(descriptors: descriptor_pb2.FileDescriptorSet) -> None:
    assert broken(json.loads(RELEASED.read_text()), shape(descriptors)) == [], (
        "numbers and names are never changed; add a new field, or record a major version"
    )


def test_what_is_new_is_recorded_as_released(descriptors: descriptor_pb2.FileDescriptorSet) -> None:
    assert json.loads(RELEASED.read_text()) == shape(descriptors), "run: make protos"


def test_every_field_has_a_comment() -> None:
    line = re.compile(r"^\s+(repeated |map<.*> )?[\w.<>, ]+ \w+ = \d+;\s*$")
    silent = [
        f"{path}:{number} {text.strip()}"
        for path in PROTOS
        for number, text in enumerate((ROOT / path).read_text().splitlines(), 1)
        if line.match(text) and "enum" not in text
    ]
    assert silent == []


def test_stubs_are_what_the_protos_say(tmp_path: Path) -> None:
    for path in PROTOS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    outputs = [f"--{kind}={tmp_path}" for kind in ("python_out", "grpc_python_out")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, *map(str, PROTOS)]
    subprocess.run(command, cwd=tmp_path, check=True)
    fresh = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2*.py")}
    stale = [str(path) for path, text in fresh.items() if (ROOT / path).read_text() != text]
    assert stale == [], "run: make protos"
