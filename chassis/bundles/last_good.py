"""The bundles that worked last, on local disk, so that a restart needs neither the topic nor the store."""

import json
import os
import shutil
import uuid
from dataclasses import asdict
from pathlib import Path

from chassis.bundles.release import Release, check_name
from chassis.bundles.verify import verify
from chassis.errors import Corrupt, NotFound

CURRENT = "current.json"


class LastGood:
    """Copies under `state_dir/bundles/<name>/`. Calls block: use a thread from a coroutine."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir / "bundles"

    def names(self) -> set[str]:
        """Names that have a copy."""
        return {path.parent.name for path in self._root.glob(f"*/{CURRENT}")}

    def keep(self, release: Release, directory: Path) -> None:
        """Copy `directory` and make it the one to load; the one before it stays for processes that still read it."""
        check_name("name", release.name)
        target = self._directory(release)
        if target != directory:
            self._copy(release, directory, target)
        pointer = target.parent / f".{CURRENT}.{uuid.uuid4().hex}"
        pointer.write_text(json.dumps(asdict(release)))
        os.replace(pointer, target.parent / CURRENT)
        self._prune(target)

    def load(self, name: str) -> tuple[Release, Path] | None:
        """The verified copy of `name`, or None when there was never one.

        Raises: Corrupt, NotFound when the copy is damaged.
        """
        pointer = self._root / name / CURRENT
        if not pointer.is_file():
            return None
        try:
            release = Release(**json.loads(pointer.read_text()))
        except (TypeError, ValueError) as error:
            raise Corrupt(f"{pointer} is not readable: {error}") from error
        verify(self._directory(release), release)
        return release, self._directory(release)

    def _copy(self, release: Release, directory: Path, target: Path) -> None:
        try:
            verify(target, release)
            return
        except (Corrupt, NotFound):
            shutil.rmtree(target, ignore_errors=True)
        staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            shutil.copytree(directory, staging)
            verify(staging, release)
            staging.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first, with the same bytes
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _prune(self, current: Path) -> None:
        others = [path for path in current.parent.iterdir() if path.is_dir() and path != current]
        others = sorted((path for path in others if not path.name.startswith(".")), key=lambda p: p.stat().st_mtime)
        for path in others[:-1]:
            shutil.rmtree(path, ignore_errors=True)

    def _directory(self, release: Release) -> Path:
        return self._root / release.name / f"{release.version}-{release.manifest_sha256[:16]}"
