"""What served probabilities were worth: `python -m services.ranker.offline.reliability --shown FILE`.

Started by `corkboard evaluate reliability` on the file of `services.indexer.offline.served_outcomes`. Prints one JSON
object: {"result": …} or {"error": …}. Shapes: N shown pins.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chassis.errors import CorkboardError, Corrupt, NotFound
from modeling.arrays import Bools, Doubles
from modeling.calibration import reliability, view_name
from modeling.evaluation import calibration_error
from sequences.labels import LABELS
from services.ranker.domain.features import HEADS

MODEL = "model:ranker"
LABEL_BY_HEAD = dict(zip(HEADS, LABELS, strict=True))  # both lists are in the order of the actions


def reliability_report(shown: pa.Table, model: str = "") -> dict[str, Any]:
    """By head and by `surface/head`: what was said, what happened, and the table of a curve. `model` keeps the pins
    that this version scored.

    Raises: NotFound when no pin has a probability, or none of that version.
    """
    versions = [json.loads(text).get(MODEL, "") for text in shown.column("versions").to_pylist()]
    counts = Counter(version for version in versions if version)
    if model:
        shown = shown.filter(pa.array([version == model for version in versions]))
    heads = {name: _measured(said_N, happened_N) for name, said_N, happened_N in _views(shown)}
    if not heads:
        known = ", ".join(name for name, _ in counts.most_common()) or "none"
        raise NotFound(f"no shown pin was scored by {model or 'a model'}; versions that scored: {known}", field="model")
    return {"num_shown": shown.num_rows, "models": dict(counts.most_common()), "heads": heads}


def _views(shown: pa.Table) -> Iterator[tuple[str, Doubles, Bools]]:
    """Name, probabilities and outcomes of each head, over all surfaces and on each."""
    scores = [json.loads(text) for text in shown.column("score_by_head").to_pylist()]
    surface_N = np.asarray(shown.column("surface").to_pylist(), dtype=object)
    for head in HEADS:
        said_N = np.asarray([each.get(head, np.nan) for each in scores], dtype=np.float64)
        happened_N = shown.column(LABEL_BY_HEAD[head]).to_numpy(zero_copy_only=False).astype(np.bool_)
        is_said_N = np.isfinite(said_N)
        if is_said_N.any():
            yield head, said_N[is_said_N], happened_N[is_said_N]
        for surface in sorted(set(surface_N[is_said_N])):
            chosen_N = is_said_N & (surface_N == surface)
            yield view_name(surface, head), said_N[chosen_N], happened_N[chosen_N]


def _measured(said_N: Doubles, happened_N: Bools) -> dict[str, Any]:
    expected, num_happened = float(said_N.sum()), int(happened_N.sum())
    said_32 = said_N.astype(np.float32)
    return {
        "num_examples": len(said_N),
        "expected": expected,
        "observed": num_happened,
        "observed_over_expected": num_happened / expected if expected else None,
        "error": calibration_error(happened_N, said_32),
        "reliability": reliability(happened_N, said_32),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when there was something to measure."""
    parser = argparse.ArgumentParser(prog="services.ranker.offline.reliability", description=__doc__)
    parser.add_argument("--shown", type=Path, required=True, help="Parquet file of shown pins")
    parser.add_argument("--model", default="", help="only pins that this version scored")
    parser.add_argument("--picture", type=Path, help="also draw the curves as a PNG of this name")
    options = parser.parse_args(arguments)
    answer: dict[str, Any]
    try:
        report = reliability_report(_read(options.shown), options.model)
        if options.picture is not None:
            _draw(report["heads"], options.picture)
        answer = {"result": report}
    except CorkboardError as error:
        answer = {"error": {"status": error.status, "message": error.message, "field": error.field}}
    sys.stdout.write(json.dumps(answer) + "\n")
    return int("error" in answer)


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise Corrupt(f"{path} cannot be read: {error}", field="shown") from error


def _draw(heads: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    # Here, as only a picture needs matplotlib and a training image does without it.
    from services.ranker.offline.reliability_picture import LIVE, reliability_picture

    path.write_bytes(reliability_picture(heads, LIVE))


if __name__ == "__main__":
    sys.exit(main())
