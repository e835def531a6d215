"""Takes the signatures of released ranker bundles at the root, which has no use for the weights."""

from pathlib import Path

from chassis.bundles import Release
from modeling import signature
from services.ranker.app.rank import TrimLists


class SignatureReleases:
    """Each release adds one list to the trim map; a release that cannot be read changes nothing."""

    def __init__(self, trim_lists: TrimLists) -> None:
        self._trim_lists = trim_lists

    def apply(self, release: Release, path: Path) -> None:
        """Raises: Corrupt when the bundle has no readable signature."""
        names = frozenset(signature.read(path).input_names)
        self._trim_lists.current = self._trim_lists.current.with_list(release.name, release.version, names)
