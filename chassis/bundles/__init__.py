"""Versioned artefacts: written whole, announced on a topic, verified and swapped in by every reader."""

from chassis.bundles.pinned import bundle_part
from chassis.bundles.release import Manifest, Release
from chassis.bundles.store import BundleStore
from chassis.bundles.watcher import BundleWatcher

__all__ = ["BundleStore", "BundleWatcher", "Manifest", "Release", "bundle_part"]
