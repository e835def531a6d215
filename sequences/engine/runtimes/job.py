"""What a batch runtime is asked to do: definitions and where look-ups are answered from."""

from collections.abc import Callable
from dataclasses import dataclass

from sequences.definitions.definitions import Definitions, parse
from sequences.engine.engine import MAX_CONCURRENCY, Engine
from sequences.engine.lookup import CachedLookup, CacheLimits, LookupSource, NoLookups
from sequences.engine.plan import plan_for

BATCH_ROWS = 8_192  # beyond, an executor gains nothing and a poison row costs more
FOREVER_S = 10 * 365 * 86_400.0  # what a source says of the past does not change while a job runs
HISTORY = CacheLimits(max_rows=16 * BATCH_ROWS, ttl_s=FOREVER_S, missing_ttl_s=FOREVER_S)


@dataclass(frozen=True)
class Job:
    """Can be sent to other processes: canonical JSON, and a function that makes the source where it is called."""

    definitions_json: bytes
    lookups: Callable[[], LookupSource] = NoLookups

    @classmethod
    def of(cls, definitions: Definitions, lookups: Callable[[], LookupSource] = NoLookups) -> "Job":
        """The job of enriching events under these definitions."""
        return cls(definitions.canonical_json(), lookups)

    def engine(self, max_concurrency: int = MAX_CONCURRENCY) -> Engine:
        """A new engine of this job, to be closed. Raises: Corrupt, Invalid."""
        plan = plan_for(parse(self.definitions_json))
        return Engine(plan, CachedLookup(self.lookups(), HISTORY), max_concurrency=max_concurrency)
