"""Candidates that were not served, between columns of a message and the domain. Shapes: N candidates, H heads."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protos.blender.v1 import blender_pb2 as pb
from protos.candidate_columns import column
from protos.tensors import numpy_to_tensor
from services.blender.domain.candidates import Candidates
from services.blender.domain.served_feed import LeftOut


def encode(left_out: LeftOut) -> pb.LeftOutColumns:
    """All but the retrieval's ranks and what sources said, which are no part of the record."""
    pins = left_out.candidates
    generators, generator_N = _numbered(pins.generators)
    stages, stage_N = _numbered(left_out.removed_by)
    return pb.LeftOutColumns(
        pin_ids=pins.pin_ids,
        generators=generators,
        generator=numpy_to_tensor(generator_N),
        retrieval_score=numpy_to_tensor(pins.retrieval_score_N),
        score=numpy_to_tensor(pins.score_N),
        rank_by_score=numpy_to_tensor(pins.rank_by_score_N.astype(np.int32)),
        heads=pins.heads,
        score_by_head=numpy_to_tensor(pins.score_by_head_NH),
        stages=stages,
        removed_by=numpy_to_tensor(stage_N),
    )


def decode(message: pb.LeftOutColumns) -> LeftOut:
    """Raises: Invalid when the columns do not fit each other; IndexError for a name that is not there."""
    pin_ids, heads = list(message.pin_ids), list(message.heads)
    num = len(pin_ids)
    generator_N = column(message.generator, "left_out.generator", np.int32, (num,))
    stage_N = column(message.removed_by, "left_out.removed_by", np.int32, (num,))
    candidates = Candidates(
        pin_ids,
        [message.generators[number] for number in generator_N.tolist()],
        [""] * num,
        column(message.retrieval_score, "left_out.retrieval_score", np.float64, (num,)),
        np.full(num, -1),
        (),
        np.zeros((num, 0)),
        column(message.score, "left_out.score", np.float64, (num,)),
        column(message.rank_by_score, "left_out.rank_by_score", np.int32, (num,)).astype(np.int64),
        heads,
        column(message.score_by_head, "left_out.score_by_head", np.float64, (num, len(heads))),
    )
    return LeftOut(candidates, [message.stages[number] for number in stage_N.tolist()])


def _numbered(names: Sequence[str]) -> tuple[list[str], NDArray[np.int32]]:
    """The different names, and the number of each."""
    number_by_name = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return list(number_by_name), np.array([number_by_name[name] for name in names], dtype=np.int32)
