"""Takes the signatures of released ranker bundles at the root, which has no use for the weights."""

from pathlib import Path

from chassis.bundles import Release
from modeling import signature
from services.ranker.app.trimming import Trimming


class SignatureReleases:
    """Each release adds one list to the trim map; a release that cannot be read changes nothing."""

    def __init__(self, trimming: Trimming) -> None:
        self._trimming = trimming

    def apply(self, release: Release, path: Path) -> None:
        """Raises: Corrupt when the bundle has no readable signature."""
        names = frozenset(signature.read(path).input_names)
        self._trimming.put_list(release.name, release.version, names)
