"""Ports and plans: every process has its own ports and only settings that its service knows."""

import importlib
from collections import Counter
from pathlib import Path

import pytest

from chassis.config import ServiceConfig, load
from corkboard.local.home import Home
from corkboard.local.plan import ONCE, PER_ZONE, Addresses, Plan, Planner, ServiceSpec
from corkboard.local.ports import SERVICE_OFFSETS, Ports

ONE, THREE = ("local",), ("az-a", "az-b", "az-c")
PAGE_KEY = "0" * 64


def planner(zones: tuple[str, ...], home: Path = Path("/home-of-tests")) -> Planner:
    redis = {zone: f"redis://127.0.0.1:{9000 + index}/0" for index, zone in enumerate(zones)}
    return Planner(Home(home), Ports(), zones, Addresses("127.0.0.1:7092", redis, "http://127.0.0.1:7317"), PAGE_KEY)


def by_name(plan: Plan) -> dict[str, ServiceSpec]:
    return {spec.name: spec for spec in plan.services}


def config_of(spec: ServiceSpec) -> ServiceConfig:
    """The settings as the service itself would read them; an unknown or bad one raises."""
    service = spec.module.removeprefix("services.")
    config_type: type[ServiceConfig] = importlib.import_module(f"{spec.module}.config").Config
    return load(config_type, f"{service.upper()}_", spec.environment)


@pytest.mark.parametrize("zones", [ONE, THREE])
def test_every_setting_of_the_plan_is_one_that_its_service_knows(zones: tuple[str, ...]) -> None:
    for spec in planner(zones).plan().services:
        config = config_of(spec)
        assert (config.grpc_port, config.admin_port, config.zone) == (spec.grpc_port, spec.admin_port, spec.zone)
        assert config.instance == spec.name


def test_a_setting_that_no_service_knows_would_be_noticed() -> None:
    from chassis.errors import Invalid

    spec = by_name(planner(ONE).plan())["cg"]
    wrong = ServiceSpec(spec.name, spec.module, spec.zone, 0, 0, {**spec.environment, "CG_REDIS_URL": "redis://"})
    with pytest.raises(Invalid, match="CG_REDIS_URL"):
        config_of(wrong)


def test_every_zone_has_every_service_and_some_run_once() -> None:
    plan = planner(THREE).plan()
    zones = Counter(spec.zone for spec in plan.services if spec.name not in ONCE)
    assert zones == dict.fromkeys(THREE, len(PER_ZONE))
    assert {spec.name: spec.zone for spec in plan.services if spec.name in ONCE} == dict.fromkeys(ONCE, "az-a")
    assert len(by_name(plan)) == len(plan.services)


def test_one_zone_needs_no_suffix_in_names() -> None:
    assert set(by_name(planner(ONE).plan())) == {*PER_ZONE, *ONCE}


@pytest.mark.parametrize("zones", [ONE, THREE])
def test_no_two_processes_share_a_port(zones: tuple[str, ...]) -> None:
    ports = Ports()
    used = [port for spec in planner(zones).plan().services for port in (spec.grpc_port, spec.admin_port)]
    used += [ports.valkey(index) for index in range(len(zones))]
    used += [port for index in range(3) for port in (ports.kafka(index), ports.kafka_controller(index))]
    used.append(ports.otlp)
    assert [port for port, times in Counter(used).items() if times > 1] == []


def test_default_ports_are_the_documented_ones() -> None:
    ports = Ports()
    assert {name: ports.grpc(name) for name in SERVICE_OFFSETS} == {
        "ingest": 7101,
        "enrich": 7102,
        "indexer": 7103,
        "cg": 7104,
        "ranker": 7105,
        "ranker-leaf": 7106,
        "blender": 7107,
        "quota": 7108,
        "indexer-lake": 7109,
        "enrich-shadow": 7110,
        "indexer-shadow": 7111,
    }
    assert (ports.kafka(), ports.valkey(), ports.otlp, ports.admin("ingest", 2)) == (7092, 7379, 7317, 9201)


def test_targets_name_every_zone() -> None:
    assert planner(THREE).target("cg") == "127.0.0.1:7104@az-a,127.0.0.1:8104@az-b,127.0.0.1:9104@az-c"
    blender = by_name(planner(THREE).plan())["blender-az-b"].environment
    assert blender["BLENDER_RANKER_TARGET"] == planner(THREE).target("ranker")
    assert blender["BLENDER_REDIS_URL"] == "redis://127.0.0.1:9001/0"
    assert blender["BLENDER_PAGE_TOKEN_KEY"] == PAGE_KEY


def test_targets_lead_to_the_port_that_the_peer_listens_on() -> None:
    specs = by_name(planner(ONE).plan())
    for user, setting, peer in (
        ("enrich", "ENRICH_INDEXER_TARGET", "indexer"),
        ("cg", "CG_INDEXER_TARGET", "indexer"),
        ("ranker", "RANKER_LEAF_TARGET", "ranker-leaf"),
        ("blender", "BLENDER_CG_TARGET", "cg"),
        ("blender", "BLENDER_RANKER_TARGET", "ranker"),
        ("blender", "BLENDER_INDEXER_TARGET", "indexer"),
    ):
        assert specs[user].environment[setting] == f"127.0.0.1:{specs[peer].grpc_port}@local"


def test_the_two_indexers_and_the_two_rankers_know_their_roles() -> None:
    specs = by_name(planner(ONE).plan())
    roles = {name: spec.environment.get(f"{name.split('-')[0].upper()}_ROLE") for name, spec in specs.items()}
    assert {name: role for name, role in roles.items() if role} == {
        "indexer": "online",
        "indexer-lake": "lake",
        "ranker": "root",
        "ranker-leaf": "leaf",
    }


def test_processes_do_not_share_a_state_folder() -> None:
    specs = planner(THREE).plan().services
    folders = {value for spec in specs for key, value in spec.environment.items() if key.endswith("_STATE_DIR")}
    assert len(folders) == len(specs)


def test_secrets_of_the_callers_environment_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hidden")
    monkeypatch.setenv("INGEST_TYPO", "would stop ingest")
    for spec in planner(ONE).plan().services:
        assert not {"SOME_TOKEN", "INGEST_TYPO"} & set(spec.environment)
