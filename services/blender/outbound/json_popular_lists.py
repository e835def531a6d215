"""The last-good popular lists in the state folder, for a start while cg is away."""

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from chassis.errors import Corrupt
from services.blender.domain.candidate import POPULAR, Candidate

FILE = "popular-lists.json"
FORMAT = 1


class JsonPopularLists:
    """One file, replaced as a whole."""

    def __init__(self, state_dir: str | Path) -> None:
        self._path = Path(state_dir) / FILE

    def keep(self, lists: Mapping[str, Sequence[Candidate]]) -> None:
        """Write the lists by locale. Raises: OSError."""
        rows = {locale: [_row(each) for each in candidates] for locale, candidates in lists.items()}
        content = json.dumps({"format": FORMAT, "lists": rows}, separators=(",", ":"))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        staging = self._path.with_name(f".{FILE}.{uuid.uuid4().hex}")
        try:
            staging.write_text(content)
            os.replace(staging, self._path)
        finally:
            staging.unlink(missing_ok=True)

    def load(self) -> Mapping[str, Sequence[Candidate]]:
        """The lists kept last; none when there are none. Raises: Corrupt."""
        try:
            content = json.loads(self._path.read_bytes())
            if content["format"] != FORMAT:
                raise Corrupt(f"{self._path} has format {content['format']!r}, this service reads {FORMAT}")
            lists = content["lists"].items()
            return {locale: [_candidate(rank, *row) for rank, row in enumerate(rows)] for locale, rows in lists}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"{self._path} cannot be read: {error!r}") from error


def _row(candidate: Candidate) -> tuple[str, float, str]:
    return candidate.pin_id, candidate.retrieval_score, candidate.content_group


def _candidate(rank: int, pin_id: str, score: float, content_group: str) -> Candidate:
    return Candidate(pin_id, POPULAR, float(score), rank, {POPULAR: float(score)}, content_group)
