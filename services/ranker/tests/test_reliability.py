"""What served probabilities were worth: honest heads come out at 1, others by how much they are off, per surface."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.ranker.offline.reliability import LABEL_BY_HEAD, main


def shown(num_pins: int = 4_000) -> pa.Table:
    """Clicks as often as said; saves half as often on home and as said on search; the first 100 by an older model."""
    random = np.random.default_rng(3)
    said_N2 = random.uniform(0.02, 0.6, size=(num_pins, 2))
    surface_N = np.where(np.arange(num_pins) % 2 == 0, "home", "search")
    true_N2 = said_N2 * np.stack([np.ones(num_pins), np.where(surface_N == "home", 0.5, 1.0)], axis=1)
    happened_N2 = random.random((num_pins, 2)) < true_N2
    labels = dict.fromkeys(LABEL_BY_HEAD.values(), np.zeros(num_pins, np.bool_))
    labels |= {"clicked": happened_N2[:, 0], "saved": happened_N2[:, 1]}
    versions = [json.dumps({"model:ranker": "old" if row < 100 else "new"}) for row in range(num_pins)]
    return pa.table(
        {
            "surface": surface_N.tolist(),
            "score_by_head": [json.dumps({"click": c, "save": s}) for c, s in said_N2.tolist()],
            "versions": versions,
            **{name: pa.array(column) for name, column in labels.items()},
        }
    )


def _run(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Any]:
    path = folder / "shown.parquet"
    if not path.exists():
        pq.write_table(shown(), path)
    code = main(["--shown", str(path), *options])
    return code, json.loads(capsys.readouterr().out)


def test_a_head_that_is_off_is_seen_on_its_surface(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "curves.png"
    code, answer = _run(tmp_path, capsys, "--picture", str(picture))
    heads = answer["result"]["heads"]
    assert code == 0 and picture.read_bytes().startswith(b"\x89PNG")
    assert heads.keys() == {f"{surface}{head}" for surface in ("", "home/", "search/") for head in ("click", "save")}
    ratio = {name: row["observed_over_expected"] for name, row in heads.items()}
    assert ratio["click"] == pytest.approx(1.0, abs=0.08)
    assert ratio["home/save"] == pytest.approx(0.5, abs=0.06)
    assert ratio["search/save"] == pytest.approx(1.0, abs=0.1)
    assert heads["home/save"]["error"] > 0.1 > 0.05 > heads["search/save"]["error"]
    for row in heads.values():
        assert sum(point["num_examples"] for point in row["reliability"]) == row["num_examples"]
        assert row["observed"] == pytest.approx(sum(p["observed"] * p["num_examples"] for p in row["reliability"]))


def test_every_action_has_the_label_of_its_own() -> None:
    assert LABEL_BY_HEAD == {
        "click": "clicked",
        "save": "saved",
        "hide": "hidden",
        "long_view": "long_viewed",
        "share": "shared",
        "conversion": "converted",
    }


def test_only_pins_of_the_named_version_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = _run(tmp_path, capsys, "--model", "old")
    assert code == 0
    assert (answer["result"]["num_shown"], answer["result"]["heads"]["click"]["num_examples"]) == (100, 100)
    assert answer["result"]["models"] == {"new": 3_900, "old": 100}
    code, answer = _run(tmp_path, capsys, "--model", "unheard")
    assert code == 1 and answer["error"]["status"] == "NOT_FOUND" and "new, old" in answer["error"]["message"]


def test_a_file_that_is_none_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shown.parquet").write_bytes(b"no parquet")
    code, answer = _run(tmp_path, capsys)
    assert code == 1 and answer["error"]["status"] == "DATA_LOSS"
