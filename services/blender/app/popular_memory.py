"""The popular pins of each locale, learnt from answers that passed by and from a refresh in the background."""

import random
from collections.abc import Sequence
from dataclasses import replace

from services.blender.app.recent import Recent
from services.blender.domain.candidate import POPULAR, Candidate

NUM_LOCALES = 64  # far more than one zone's surfaces serve; a hostile caller cannot make it grow
ANY_LOCALE = ""
BLOCK = 10  # pins of nearly equal popularity, among which the seed decides


class PopularMemory:
    """Lists by locale, best first; a locale without one gets the list of any other."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._list_by_locale: Recent[str, Sequence[Candidate]] = Recent(NUM_LOCALES)
        self._wanted: Recent[str, None] = Recent(NUM_LOCALES)
        self._wanted.put(ANY_LOCALE, None)

    @property
    def wanted_locales(self) -> list[str]:
        """Those that people asked for lately."""
        return list(self._wanted)

    @property
    def lists(self) -> dict[str, Sequence[Candidate]]:
        """Every list by its locale."""
        found = {locale: self._list_by_locale.get(locale) for locale in self._list_by_locale}
        return {locale: candidates for locale, candidates in found.items() if candidates}

    def want(self, locale: str) -> None:
        """Somebody of this locale asked for a feed."""
        self._wanted.put(locale, None)

    def replace(self, locale: str, candidates: Sequence[Candidate]) -> None:
        """A whole new list; an empty one is no news."""
        if candidates:
            self._list_by_locale.put(locale, [_as_popular(each, rank) for rank, each in enumerate(candidates)])

    def learn(self, locale: str, candidates: Sequence[Candidate]) -> None:
        """Popular pins among the candidates of an answer go to the end of the list, until it is full."""
        known = self._list_by_locale.get(locale) or ()
        if len(known) >= self._size:
            return
        pin_ids = {each.pin_id for each in known}
        fresh = [each for each in candidates if POPULAR in each.score_by_generator and each.pin_id not in pin_ids]
        fresh.sort(key=lambda each: -each.score_by_generator[POPULAR])
        self.replace(locale, [*known, *fresh][: self._size])

    def deal(self, locale: str, seed: int) -> list[Candidate]:
        """The list with each block of ten shuffled by the seed: people differ, the pages of one session agree."""
        found = self._list_by_locale.get(locale) or self._list_by_locale.get(ANY_LOCALE)
        if not found:
            found = next((self._list_by_locale.get(other) for other in self._list_by_locale), None) or []
        dealer, dealt = random.Random(seed), list[Candidate]()
        for start in range(0, len(found), BLOCK):
            block = list(found[start : start + BLOCK])
            dealer.shuffle(block)
            dealt += block
        return [_as_popular(each, rank) for rank, each in enumerate(dealt)]


def _as_popular(candidate: Candidate, rank: int) -> Candidate:
    return replace(candidate, generator=POPULAR, retrieval_rank=rank)
