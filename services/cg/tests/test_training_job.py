"""The offline job from tables to released bundles and published vectors."""

import json
from pathlib import Path

import pytest

from chassis.bundles import BundleStore
from chassis.clock import SYSTEM_CLOCK
from chassis.testing import InMemoryBus
from modeling.release import write_bundle
from modeling.tests.dataset_files import write_dataset
from protos.indexer.v1.indexer_pb2 import UserEmbedding
from protos.releases import decode_release
from protos.topics import EMBEDDINGS_PUBLISHED, MODELS_RELEASED
from services.cg.offline.fit_generators import Fitted, Job, fit_all
from services.cg.offline.release import release
from services.cg.offline.train import main
from services.cg.tests.world import training_data

NAMES = ("popular", "co_engaged", "related", "two_tower", "contextual")


async def test_release_announces_bundles_and_publishes_every_user(tmp_path: Path, fitted: Fitted) -> None:
    bus, store = InMemoryBus(), BundleStore(str(tmp_path))
    releases = [write_bundle(store, name, files, {}, "test") for name, files in fitted.files_by_name.items()]
    await release(bus, releases, fitted)
    announced = {decode_release(record.value or b"").name for record in bus.records(MODELS_RELEASED)}
    assert announced == set(NAMES)
    records = bus.records(EMBEDDINGS_PUBLISHED)
    embeddings = [UserEmbedding.FromString(record.value or b"") for record in records]
    for encoder in ("two_tower", "contextual"):
        of_encoder = [item for item in embeddings if item.vector.encoder == encoder]
        assert {item.user_id for item in of_encoder} == set(fitted.user_ids)
        version = next(item.version for item in releases if item.name == encoder)
        assert {item.vector.encoder_version for item in of_encoder} == {version}
    assert len({record.key for record in records}) == len(records), "compaction would take one encoder's away"
    assert SYSTEM_CLOCK.now_ms() - embeddings[0].vector.computed_time_ms < 60_000


def test_training_repeats_itself_with_a_seed(fitted: Fitted) -> None:
    again = fit_all(training_data(), Job(seed=3))
    assert again.evaluation == fitted.evaluation
    assert (again.user_UV == fitted.user_UV).all()
    assert (again.hidden_UD == fitted.hidden_UD).all()


def test_the_command_trains_from_files_and_reports_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = write_dataset(tmp_path / "dataset-test", training_data(num_users=20))
    assert main(["--dataset", str(dataset), "--bundles-uri", str(tmp_path / "bundles"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    store = BundleStore(str(tmp_path / "bundles"))
    assert report["versions"] == {name: store.list(name)[-1].version for name in NAMES}
    assert report["evaluation"].keys() >= {"popularity", "item_knn", "co_engaged", "two_tower", "contextual"}
