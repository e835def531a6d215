"""What a retrieval asks for and what comes back, from one generator and from all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modeling.arrays import Bools, Floats, Ints
from services.cg.domain.candidates import Candidates
from services.cg.domain.pin_index import PinSnapshot


@dataclass(frozen=True)
class HistoryEvent:
    """One engagement of the user."""

    pin_id: str
    event_type: str
    event_time_ms: int


@dataclass(frozen=True)
class StoredVector:
    """A user's vector or hidden state computed before, and the version of the encoder that made it."""

    encoder_version: str
    vector: Floats

    def fits(self, encoder_version: str, width: int) -> bool:
        """Whether this encoder made it; a vector of another one lies in another space."""
        return self.encoder_version == encoder_version and self.vector.shape == (width,)


@dataclass(frozen=True)
class SurfacePlan:
    """Which generators a surface runs, with their weights in the merge."""

    surface: str
    weight_by_generator: Mapping[str, float]
    excluded_labels: frozenset[str] = frozenset()  # pins with such a safety label are never returned


@dataclass(frozen=True)
class RetrievalQuery:
    """Everything a generator may look at. `history` is oldest first; `now_ms` is epoch milliseconds.

    `stored_vectors` by encoder are there for a user without a readable history. `seed` differs between requests.
    """

    snapshot: PinSnapshot
    is_allowed_N: Bools
    now_ms: int
    history: tuple[HistoryEvent, ...] = ()
    stored_vectors: Mapping[str, StoredVector] = field(default_factory=dict)
    subject_pin_id: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Degradation:
    """A part of an answer that is missing or replaced."""

    component: str
    reason: str
    level: str


@dataclass(frozen=True)
class Generated:
    """Rows of the snapshot, best first, with the generator's own scores."""

    row_K: Ints
    score_K: Floats
    index_version: str = ""
    encoder_version: str = ""
    degradations: tuple[Degradation, ...] = ()


@dataclass(frozen=True)
class GeneratorReport:
    """What one generator did."""

    generator: str
    num_returned: int
    duration_ms: float
    index_version: str = ""
    encoder_version: str = ""


@dataclass(frozen=True)
class Retrieved:
    """The answer of a retrieval."""

    candidates: Candidates
    reports: tuple[GeneratorReport, ...] = ()
    degradations: tuple[Degradation, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
