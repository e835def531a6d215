"""A model as the leaf hosts it: signature, weights, calibration, and a golden request it must answer as in training.

Shapes: B requests, C candidates, H heads.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from chassis.errors import CorkboardError, Corrupt, Invalid
from modeling.arrays import AnyArray, Floats
from modeling.calibration import Platt, pick
from modeling.dcat.cached_contexts import contexts_of
from modeling.dcat.context import Context
from modeling.dcat.context_cache import ContextCache, ContextKey
from modeling.signature import Signature
from services.ranker.domain.features import MAX_HISTORY, SURFACES, Prepared, prepare
from services.ranker.domain.history_ranker import HistoryRanker
from services.ranker.domain.input_values import within_range
from services.ranker.domain.padding import stack
from services.ranker.domain.request_limits import MAX_CANDIDATES

GOLDEN_TOLERANCE = 1e-3  # float32 on another CPU differs by ~1e-5; a wrong weight by far more
CONTEXT_INPUTS = ("history_pin", "history_event_type", "history_content")  # beside the events' times


@dataclass(frozen=True)
class ScoreAsk:
    """One request's tensors, and whose history they hold in which version; no user or version 0 = not to be kept."""

    tensors: Mapping[str, AnyArray]
    user_id: str = ""
    sequence_version: int = 0

    @property
    def num_candidates(self) -> int:
        """Rows of its candidates; 0 when it names none."""
        candidates = self.tensors.get("candidate_pin")
        return 0 if candidates is None else candidates.size


@dataclass(frozen=True)
class Answer:
    """Calibrated probability per head [C], which inputs took their defaults, and how many numbers did besides."""

    probability_by_head: Mapping[str, Floats]
    defaulted_inputs: tuple[str, ...]
    num_not_finite: int


@dataclass(frozen=True)
class HostedModel:
    """One version of a model, ready to score."""

    version: str
    model: HistoryRanker
    signature: Signature
    calibration: Mapping[str, Platt]

    def answer(self, ask: ScoreAsk, contexts: ContextCache[Context] | None = None) -> Answer:
        """Score one request. Raises: Invalid when the request names no candidates or too long a history."""
        (answer,) = self.answers([ask], contexts)
        if isinstance(answer, CorkboardError):
            raise answer
        return answer

    def answers(
        self, asks: Sequence[ScoreAsk], contexts: ContextCache[Context] | None = None
    ) -> list[Answer | CorkboardError]:
        """Score requests in one pass, each as `answer` would alone; in place of an answer what `answer` would raise.

        Histories that `contexts` holds are not read again.
        """
        tried = [self._tried(ask.tensors) for ask in asks]
        good = [(ask, one) for ask, one in zip(asks, tried, strict=True) if isinstance(one, Prepared)]
        logits = iter(self._logits(good, contexts)) if good else iter(())
        return [self._answer(one, next(logits)) if isinstance(one, Prepared) else one for one in tried]

    def logits(self, tensors: Mapping[str, AnyArray]) -> Floats:
        """Raw logits [C, H] of prepared tensors."""
        with torch.inference_mode():
            return np.asarray(self.model(_as_inputs([tensors]))[0].numpy())

    def check(self, golden_inputs: Mapping[str, AnyArray], golden_logit_CH: Floats) -> None:
        """Raises: Corrupt when the golden request is not answered as it was in training."""
        given = self.logits(golden_inputs)
        if given.shape != golden_logit_CH.shape or not np.allclose(given, golden_logit_CH, atol=GOLDEN_TOLERANCE):
            raise Corrupt(f"model {self.version} answers its golden request with other numbers than in training")

    def _tried(self, given: Mapping[str, AnyArray]) -> Prepared | CorkboardError:
        try:
            num_candidates, num_history = _length(given, "candidate_pin"), _length(given, "history_pin")
        except Invalid as error:
            return error
        if num_history > MAX_HISTORY:
            return Invalid(f"history of {num_history} events, at most {MAX_HISTORY} are read", field="inputs")
        if num_candidates > MAX_CANDIDATES:
            return Invalid(f"{num_candidates} candidates, at most {MAX_CANDIDATES} are scored", field="inputs")
        values, num_replaced = within_range(given)
        width = self.model.settings.content_width
        prepared = prepare(values, self.signature.input_names, num_history, num_candidates, width)
        return replace(prepared, num_not_finite=prepared.num_not_finite + num_replaced)

    def _logits(
        self, good: Sequence[tuple[ScoreAsk, Prepared]], contexts: ContextCache[Context] | None
    ) -> list[Floats]:
        inputs = _as_inputs([prepared.tensors for _, prepared in good])
        with torch.inference_mode():
            if contexts is None:
                encoded = [self.model.encode_history(inputs)]
            else:
                keys = [self._key(ask, prepared) for ask, prepared in good]

                def embed(rows: Sequence[int]) -> tuple[Tensor, Tensor]:
                    return self.model.sequence.history({name: value[list(rows)] for name, value in inputs.items()})

                encoded = contexts_of(self.model.dcat, contexts, keys, embed)
            logit_BCH = self.model.score_candidates(inputs, encoded).numpy()
        return [logit_BCH[row, : ask.num_candidates] for row, (ask, _) in enumerate(good)]

    def _key(self, ask: ScoreAsk, prepared: Prepared) -> ContextKey | None:
        """A sequence version fixes the events and their times; what is known of their pins may change under it."""
        if not ask.user_id or not ask.sequence_version:
            return None
        digest = hashlib.blake2b(digest_size=16)
        for name in CONTEXT_INPUTS:
            digest.update(np.ascontiguousarray(prepared.tensors[name]).data)
        return ContextKey(ask.user_id, ask.sequence_version, self.version, digest.digest())

    def _answer(self, prepared: Prepared, logit_CH: Floats) -> Answer:
        surface, heads = _surface(prepared.tensors), self.signature.output_names
        probabilities = {
            head: pick(self.calibration, surface, head)(logit_CH[:, row]) for row, head in enumerate(heads)
        }
        return Answer(probabilities, prepared.defaulted_inputs, prepared.num_not_finite)


def _as_inputs(requests: Sequence[Mapping[str, AnyArray]]) -> dict[str, Tensor]:
    if len(requests) == 1:
        return {name: torch.from_numpy(np.ascontiguousarray(value))[None] for name, value in requests[0].items()}
    return {name: torch.from_numpy(value) for name, value in stack(requests).items()}


def _surface(tensors: Mapping[str, AnyArray]) -> str:
    """Whose calibration holds; the rows of one request are of one surface. Empty = the calibration of all."""
    rows = tensors.get("surface")
    row = int(rows[0]) if rows is not None and len(rows) else 0
    return SURFACES[row - 1] if 0 < row <= len(SURFACES) else ""


def _length(given: Mapping[str, AnyArray], name: str) -> int:
    if name not in given or given[name].ndim != 1:
        raise Invalid(f"input {name} must be there with one axis: it says how many rows the others have", field=name)
    return len(given[name])
