"""The quality of every sequence this process writes."""

from services.indexer.domain.quality import SequenceQuality


class QualityBoard:
    """One SequenceQuality per sequence, made at first use."""

    def __init__(self) -> None:
        self._by_sequence: dict[str, SequenceQuality] = {}

    def of(self, sequence: str) -> SequenceQuality:
        """Always the same one for a name."""
        return self._by_sequence.setdefault(sequence, SequenceQuality())
