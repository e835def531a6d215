"""The command line finds a Corkboard on a cluster by the environment of its pod."""

from pathlib import Path

import pytest

from chassis.errors import Invalid, Unavailable
from corkboard.elsewhere import Elsewhere
from corkboard.local.home import Home
from corkboard.session import Endpoints

POD = {"CORKBOARD_HOSTS": "{service}-{zone}", "CORKBOARD_ZONES": "az-b,az-a", "CORKBOARD_KAFKA": "kafka:9092"}


@pytest.mark.parametrize(
    ("service", "address"),
    [
        ("blender", "blender-az-b:7107"),
        ("ranker", "ranker-root-az-b:7105"),
        ("ranker-leaf", "ranker-leaf-az-b:7106"),
        ("indexer-lake", "indexer-lake-az-b:7103"),
    ],
)
def test_addresses_are_those_of_the_charts(service: str, address: str) -> None:
    elsewhere = Elsewhere.of_environment(POD)
    assert elsewhere is not None
    assert elsewhere.address(service, 0) == address


def test_the_environment_goes_before_what_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (POD | {"CORKBOARD_CERTIFICATES": "/certificates"}).items():
        monkeypatch.setenv(name, value)
    endpoints = Endpoints.of_running(Home(tmp_path), "az-a")
    assert endpoints.address("ingest") == "ingest-az-a:7101"
    assert (endpoints.kafka, endpoints.certificates) == ("kafka:9092", Path("/certificates"))
    assert Endpoints.zones(Home(tmp_path)) == ("az-b", "az-a")
    with pytest.raises(Unavailable, match="az-b, az-a"):
        Endpoints.of_running(Home(tmp_path), "az-x")


@pytest.mark.parametrize("missing", ["CORKBOARD_ZONES", "CORKBOARD_KAFKA"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(Invalid, match=missing):
        Elsewhere.of_environment({name: value for name, value in POD.items() if name != missing})


def test_hosts_without_a_place_for_the_service_are_refused() -> None:
    with pytest.raises(Invalid, match="CORKBOARD_HOSTS"):
        Elsewhere.of_environment(POD | {"CORKBOARD_HOSTS": "localhost"})


def test_without_hosts_there_is_nothing_elsewhere() -> None:
    assert Elsewhere.of_environment({}) is None
