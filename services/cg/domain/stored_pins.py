"""The live pins as they are kept on disk: columns without dead rows, and the names their codes stand for."""

from dataclasses import dataclass

from services.cg.domain.pin_compaction import Compaction
from services.cg.domain.pin_snapshot import PinColumns, PinSnapshot


@dataclass(frozen=True)
class StoredPins:
    """`columns` has one row per id. Code c of a language or group is name c - 1 of its list."""

    pin_ids: list[str]
    columns: PinColumns
    languages: list[str]
    groups: list[str]
    label_sets: list[list[str]]  # of code c, the labels


def stored(snapshot: PinSnapshot) -> StoredPins:
    """The live pins of a snapshot, copied. Slow: for a thread."""
    compaction = Compaction(snapshot, snapshot.generation)
    compaction.run()
    live = compaction.preview()
    return StoredPins(
        list(live.pin_ids),
        live.columns,
        list(snapshot.language_code),
        list(snapshot.group_names[1:]),
        [sorted(labels) for labels in snapshot.label_sets],
    )
