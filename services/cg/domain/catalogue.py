"""The generators in use, each behind one reference that a new bundle replaces."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chassis.errors import NotFound
from modeling.arrays import Floats
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Generated, HistoryEvent, RetrievalQuery

Generate = Callable[[RetrievalQuery, int], Generated]
EncodeHistory = Callable[[Sequence[HistoryEvent], PinSnapshot], Floats]
NAMES = ("popular", "fresh", "related", "co_engaged", "two_tower", "contextual", "shopping")


@dataclass(frozen=True)
class Encoder:
    """What makes a user's vector or hidden state from events alone, and its version."""

    version: str
    encode_history: EncodeHistory


class Catalogue:
    """Generators by name. Requests in flight go on with the one they took."""

    def __init__(self) -> None:
        self._generate: dict[str, Generate] = {}
        self._versions: dict[str, str] = {}
        self._warm: dict[str, Callable[[PinSnapshot], object]] = {}
        self._encoders: dict[str, Encoder] = {}

    def put(
        self, name: str, generate: Generate, version: str = "", warm: Callable[[PinSnapshot], object] | None = None
    ) -> None:
        """Use this generator from now on; `warm` is called from time to time with the newest pins."""
        self._generate[name] = generate
        if version:
            self._versions[name] = version
        if warm is not None:
            self._warm[name] = warm

    def put_encoder(self, name: str, version: str, encode_history: EncodeHistory) -> None:
        """Users' states are made by this one from now on."""
        self._encoders[name] = Encoder(version, encode_history)

    def get(self, name: str) -> Generate:
        """Raises: NotFound when no bundle of a known generator was released, or when nobody knows the name."""
        generate = self._generate.get(name)
        if generate is None:
            known = "no bundle of it was released" if name in NAMES else f"known are {', '.join(NAMES)}"
            raise NotFound(f"generator {name!r} is not there: {known}", field="generators")
        return generate

    def warm(self, snapshot: PinSnapshot) -> None:
        """Let every generator take in new pins before a request needs them."""
        for warm in tuple(self._warm.values()):
            warm(snapshot)

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """Encoder in use by generator."""
        return dict(self._encoders)

    @property
    def versions(self) -> Mapping[str, str]:
        """Bundle version in use by generator."""
        return dict(self._versions)
