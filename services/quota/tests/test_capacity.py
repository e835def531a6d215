"""Capacity becomes manifests that the API server takes; bad quotas are refused by field."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import Invalid
from services.quota.domain.capacity import CapacityQuota
from services.quota.offline.capacity import apply_to_cluster, main, read_quotas
from services.quota.outbound.kubernetes_capacity import manifests

QUOTA = CapacityQuota("feed", "zone-a", "corkboard", {"requests.cpu": "40", "pods": "100"}, {"memory": "512Mi"})


def test_objects_are_a_resource_quota_and_a_limit_range() -> None:
    quota, limits = manifests(QUOTA)
    assert (quota["apiVersion"], quota["kind"], limits["kind"]) == ("v1", "ResourceQuota", "LimitRange")
    assert quota["metadata"]["name"] == "corkboard-feed-zone-a"
    assert quota["spec"] == {"hard": {"requests.cpu": "40", "pods": "100"}}
    assert limits["spec"]["limits"][0]["defaultRequest"] == {"memory": "512Mi"}


def test_main_writes_one_file_per_object(tmp_path: Path) -> None:
    source = tmp_path / "capacity.json"
    source.write_text(json.dumps([{"team": "feed", "zone": "zone-a", "namespace": "corkboard", "hard": {"pods": "9"}}]))
    assert main([str(source), "--out", str(tmp_path / "out")]) == 0
    (written,) = (tmp_path / "out").iterdir()
    assert json.loads(written.read_text())["spec"]["hard"] == {"pods": "9"}


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("team", {"team": "Feed/../x"}),
        ("hard", {"hard": {}}),
        ("hard", {"hard": {"wishes": "3"}}),
        ("hard", {"hard": {"pods": "-1"}}),
        ("container_default", {"container_default": {"cpu": "much"}}),
    ],
)
def test_bad_quota_is_refused_by_field(tmp_path: Path, field: str, changed: dict[str, object]) -> None:
    source = tmp_path / "capacity.json"
    sound = {"team": "feed", "zone": "zone-a", "namespace": "corkboard", "hard": {"pods": "9"}}
    source.write_text(json.dumps([sound | changed]))
    with pytest.raises(Invalid) as refused:
        read_quotas(source)
    assert refused.value.field == field
    assert main([str(source), "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()


class RecordingCluster:
    """A cluster that has drifted and remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []

    def drift(self, manifest: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
        return {"hard": ("wanted", "found")} if manifest["kind"] == "ResourceQuota" else {}

    def apply(self, manifest: Mapping[str, Any], *, is_dry_run: bool) -> None:
        self.calls.append((manifest["kind"], is_dry_run))


@pytest.mark.parametrize("is_applied", [True, False])
def test_everything_is_dry_run_first_and_only_drift_is_applied(is_applied: bool) -> None:
    cluster = RecordingCluster()
    assert apply_to_cluster([QUOTA], cluster, is_applied=is_applied) == 1
    expected = [("ResourceQuota", True), ("LimitRange", True)] + [("ResourceQuota", False)] * is_applied
    assert cluster.calls == expected
