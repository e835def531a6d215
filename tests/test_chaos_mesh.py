"""charts/chaos is what the scenarios say, and each manifest has the form that Chaos Mesh takes.

With CORKBOARD_CHAOS_MESH_CRDS, a folder of its CustomResourceDefinitions, faults are also checked against those.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.chaos.mesh import FAULTS, FIELDS, NOT_IN_MESH, workflows
from e2e.chaos.scenarios import SCENARIOS
from scripts import chaos_mesh
from tests.charts import CHARTS

# Kind -> field -> what it may be. From the API of Chaos Mesh 2 (api/v1alpha1).
SPECS: dict[str, dict[str, set[str] | type]] = {
    "PodChaos": {"action": {"pod-kill", "pod-failure", "container-kill"}, "gracePeriod": int},
    "NetworkChaos": {
        "action": {"partition", "loss", "delay"},
        "direction": {"to", "from", "both"},
        "loss": dict,
        "delay": dict,
        "target": dict,
    },
    "IOChaos": {"action": {"fault"}, "errno": int, "percent": int, "methods": list, "volumePath": str},
}
COMMON: dict[str, set[str] | type] = {"mode": {"one", "all"}, "selector": dict}
TEMPLATE_FIELDS = {"name", "templateType", "deadline", "children", "podChaos", "networkChaos", "ioChaos"}
NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
DURATION = re.compile(r"^[1-9][0-9]*s$")


def faults_of(workflow: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for template in workflow["spec"]["templates"]:
        kind = template["templateType"]
        if kind in SPECS:
            yield kind, template[FIELDS[kind]]


def test_the_folder_is_up_to_date() -> None:
    wanted = chaos_mesh.files()
    assert {path.name for path in chaos_mesh.FOLDER.glob("*.yaml")} == {path.name for path in wanted}
    stale = [path.name for path, text in wanted.items() if path.read_text() != text]
    assert not stale, "run python scripts/chaos_mesh.py"


def test_every_action_is_done_by_the_cluster_or_said_not_to_be() -> None:
    used = {fault.action for one in SCENARIOS.values() for seed in range(20) for fault in one.schedule(seed)}
    assert used <= set(FAULTS) | set(NOT_IN_MESH), used - set(FAULTS) - set(NOT_IN_MESH)
    assert not set(FAULTS) & set(NOT_IN_MESH)


@pytest.mark.parametrize("name", list(workflows()))
def test_a_workflow_has_the_form_that_is_taken(name: str) -> None:
    workflow = workflows()[name]
    templates = {one["name"]: one for one in workflow["spec"]["templates"]}
    assert len(templates) == len(workflow["spec"]["templates"]), "two templates of one name"
    assert workflow["spec"]["entry"] in templates
    assert all(NAME.match(one) for one in (workflow["metadata"]["name"], *templates))
    children = [child for one in templates.values() for child in one.get("children", ())]
    assert sorted(children) == sorted(set(templates) - {"entry"}), "each template has its one place"
    assert {key for one in templates.values() for key in one} <= TEMPLATE_FIELDS
    assert all(DURATION.match(one["deadline"]) for one in templates.values() if "deadline" in one)
    for kind, spec in faults_of(workflow):
        check(spec, SPECS[kind] | COMMON)


def check(spec: dict[str, Any], allowed: dict[str, set[str] | type]) -> None:
    assert set(spec) <= set(allowed), set(spec) - set(allowed)
    for field, value in spec.items():
        what = allowed[field]
        assert value in what if isinstance(what, set) else isinstance(value, what), (field, value)


@pytest.mark.parametrize("name", list(workflows()))
def test_pods_are_found_by_names_of_charts(name: str) -> None:
    """Servers are the operator's: their pods carry the names that charts/README.md asks for."""
    known = {path.parent.name for path in CHARTS.glob("*/Chart.yaml")} | {"kafka", "valkey"}
    for _, spec in faults_of(workflows()[name]):
        for selector in (spec["selector"], spec.get("target", spec)["selector"]):
            assert selector["labelSelectors"].get("app.kubernetes.io/name", "kafka") in known


def test_a_field_that_nobody_knows_is_caught() -> None:
    with pytest.raises(AssertionError):
        check({"action": "pod-kill", "signal": 19}, SPECS["PodChaos"])
    with pytest.raises(AssertionError):
        check({"action": "pod-pause"}, SPECS["PodChaos"])


@pytest.mark.skipif("CORKBOARD_CHAOS_MESH_CRDS" not in os.environ, reason="no CustomResourceDefinitions at hand")
def test_every_workflow_fits_the_definitions_of_a_cluster() -> None:
    import jsonschema

    schemas = {}
    for path in Path(os.environ["CORKBOARD_CHAOS_MESH_CRDS"]).glob("*.yaml"):
        for crd in yaml.safe_load_all(path.read_text()):
            if crd and crd.get("kind") == "CustomResourceDefinition":
                found = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
                schemas[crd["spec"]["names"]["kind"]] = closed(found)
    for workflow in workflows().values():
        jsonschema.validate(workflow, schemas["Workflow"])
        for kind, spec in faults_of(workflow):
            jsonschema.validate({"spec": spec}, schemas[kind])


def closed(schema: Any) -> Any:
    """As an API server takes it that refuses unknown fields."""
    if isinstance(schema, dict):
        closed_parts = {key: closed(value) for key, value in schema.items()}
        is_open = (
            "properties" not in schema or not isinstance(schema["properties"], dict) or schema.get("type") != "object"
        )
        return closed_parts if is_open else {"additionalProperties": False, **closed_parts}
    return [closed(each) for each in schema] if isinstance(schema, list) else schema
