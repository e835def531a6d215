"""Scores two versions of users' histories with one frozen ranker: `python -m services.ranker.offline.parity_scores …`.

Started by `corkboard parity run`; reads the histories.parquet and pins.parquet of `--folder` and writes scores.npz
beside them: probabilities [R, C, H] and utilities [R, C] of each side, R users, C candidates, H heads.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chassis.bundles import BundleStore, Release
from chassis.errors import CorkboardError, Corrupt, NotFound
from modeling.arrays import Doubles, Floats
from sequences.definitions import bundle
from services.ranker.domain.candidates import RankCandidate
from services.ranker.domain.features import GENERATORS, score_name
from services.ranker.domain.hosted_model import HostedModel, ScoreAsk
from services.ranker.domain.preprocess import build_tensors
from services.ranker.domain.ranking import PinFeatures, SequenceEvent
from services.ranker.domain.utility import DEFAULT_WEIGHTS, utility
from services.ranker.outbound.bundle_model_files import GOLDEN, read_ranker
from services.ranker.outbound.grpc_indexer import read_pins

MODEL = "ranker"
SIDES = ("old", "new")
SCORES = "scores.npz"


def score_sides(
    model: HostedModel,
    histories: pa.Table,
    pins: pa.Table,
    weights: Mapping[str, float],
    now_ms: int,
    retrieval: Sequence[Mapping[str, float]],
) -> dict[str, Doubles]:
    """{probability_old, utility_old, probability_new, utility_new}; users sorted, candidates in the table's order.

    What retrieval says of a candidate is the same on both sides, `retrieval` in turn: only the history differs.
    """
    features = read_pins(pins.combine_chunks().to_batches()[0])
    chosen = pins.filter(pins.column("is_candidate")).column("pin_id").to_pylist()
    candidates = [
        RankCandidate(pin_id, 0.0, rank, retrieval[rank % len(retrieval)]) for rank, pin_id in enumerate(chosen)
    ]
    users = sorted(histories.column("user_id").unique().to_pylist())
    found: dict[str, Doubles] = {}
    for side in SIDES:
        events_of = _events_by_user(histories.filter(pa.compute.equal(histories.column("side"), side)))
        answers = [_heads(model, candidates, events_of.get(user, []), features, now_ms) for user in users]
        found[f"probability_{side}"] = np.stack([np.stack(list(each.values()), axis=-1) for each in answers]).astype(
            np.float64
        )
        found[f"utility_{side}"] = np.stack([utility(each, weights) for each in answers])
    return found


def golden_retrieval(bundle_folder: Path) -> list[dict[str, float]]:
    """Scores by generator of the candidates of the bundle's golden request, which is one of its training.

    Without any score, no candidate would have been returned by retrieval, and a ranker takes all of them for hopeless.
    Raises: Corrupt.
    """
    try:
        with np.load(bundle_folder / GOLDEN, allow_pickle=False) as golden:
            scores = {name: golden[score_name(name)].tolist() for name in GENERATORS if score_name(name) in golden}
            num_candidates = len(golden["candidate_pin"])
    except (OSError, ValueError, KeyError) as error:
        raise Corrupt(f"{bundle_folder / GOLDEN} cannot be read: {error}", field=GOLDEN) from error
    return [{name: values[row] for name, values in scores.items()} for row in range(num_candidates)]


def _heads(
    model: HostedModel,
    candidates: Sequence[RankCandidate],
    events: Sequence[SequenceEvent],
    features: Mapping[str, PinFeatures],
    now_ms: int,
) -> dict[str, Floats]:
    answer = model.answer(ScoreAsk(build_tensors(candidates, events, features, now_ms)))
    return dict(sorted(answer.probability_by_head.items()))


def _events_by_user(rows: pa.Table) -> dict[str, list[SequenceEvent]]:
    found: dict[str, list[SequenceEvent]] = {}
    for row in rows.to_pylist():
        event = SequenceEvent(row["event_id"], row["event_type"], row["pin_id"], row["event_time_ms"])
        found.setdefault(row["user_id"], []).append(event)
    return found


def _run(options: argparse.Namespace) -> dict[str, int]:
    store = BundleStore(options.bundles_uri)
    folder = store.open(_released(store, MODEL, options.model))
    model, retrieval = read_ranker(folder, options.model), golden_retrieval(folder)
    surfaces = bundle.load(store.open(_released(store, bundle.NAME, options.definitions))).surfaces
    surface = surfaces.get(options.surface)
    weights = {str(name): weight for name, weight in surface.utility_weights.items()} if surface else {}
    try:
        tables = [pq.read_table(options.folder / name) for name in ("histories.parquet", "pins.parquet")]
    except (OSError, pa.ArrowException) as error:
        raise Corrupt(f"histories of {options.folder} cannot be read: {error}") from error
    scores = score_sides(model, tables[0], tables[1], weights or DEFAULT_WEIGHTS, options.now_ms, retrieval)
    np.savez_compressed(options.folder / SCORES, allow_pickle=False, **scores)
    num_users, num_candidates = scores["utility_old"].shape
    return {"num_users": num_users, "num_candidates": num_candidates}


def _released(store: BundleStore, name: str, version: str) -> Release:
    found = next((release for release in store.list(name) if release.version == version), None)
    if found is None:
        raise NotFound(f"bundle {name} has no version {version!r}", field=name)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """0 when scores.npz was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the histories are and the scores go")
    parser.add_argument("--bundles-uri", required=True, help="bundle store of model and definitions")
    parser.add_argument("--model", required=True, help="version of the ranker")
    parser.add_argument("--definitions", required=True, help="version with the surfaces' utility weights")
    parser.add_argument("--surface", default="home", help="whose utility orders the candidates")
    parser.add_argument("--now-ms", type=int, required=True, help="time of the ranking, epoch milliseconds")
    try:
        report = _run(parser.parse_args(argv))
    except CorkboardError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
