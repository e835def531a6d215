"""Requests of any size as a root would send them."""

from services.ranker.domain.hosted_model import ScoreAsk
from services.ranker.domain.preprocess import build_tensors
from services.ranker.domain.ranking import PinFeatures
from services.ranker.tests.world import NOW_MS, candidates, event, pin_id, vector


def ask(
    num_candidates: int, num_history: int, user_id: str = "", version: int = 0, *, first_event_type: str = "save"
) -> ScoreAsk:
    """Candidates and events of the small world."""
    numbers, history = list(range(num_candidates)), [number % 50 for number in range(num_history)]
    pins = {pin_id(n): PinFeatures(vector(n), NOW_MS - 10_000_000 * (n + 1), n) for n in {*numbers, *history}}
    events = [event(number, kind="save" if row else first_event_type) for row, number in enumerate(history)]
    return ScoreAsk(build_tensors(candidates(numbers, popular=2.0), events, pins, NOW_MS, "home"), user_id, version)
