"""Proof that a directory holds exactly the bytes that a release announced."""

import hashlib
from pathlib import Path

from chassis.bundles.release import MANIFEST, Manifest, Release, sha256
from chassis.errors import Corrupt, NotFound


def verify(directory: Path, release: Release) -> Manifest:
    """The manifest of `directory`, after every file of it was read and compared; a file it does not list is refused.

    Raises: NotFound when there is no manifest, Corrupt for anything that differs.
    """
    what = f"bundle {release.name}/{release.version}"
    try:
        data = (directory / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{what}: no {MANIFEST} in {directory}") from error
    if release.manifest_sha256 and sha256(data) != release.manifest_sha256:
        raise Corrupt(f"{what}: {MANIFEST} has sha256 {sha256(data)}, released was {release.manifest_sha256}")
    manifest = Manifest.from_bytes(data, what)
    if (manifest.name, manifest.version) != (release.name, release.version):
        raise Corrupt(f"{what}: {MANIFEST} is of {manifest.name}/{manifest.version}")
    _verify_files(directory, manifest, what)
    return manifest


def _verify_files(directory: Path, manifest: Manifest, what: str) -> None:
    inside = directory.resolve()
    present = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()}
    if unlisted := present - set(manifest.files) - {MANIFEST}:
        raise Corrupt(f"{what}: files that its manifest does not list: {sorted(unlisted)[:5]}")
    for path, expected in manifest.files.items():
        file = directory / path
        if not file.is_file() or not file.resolve().is_relative_to(inside):
            raise Corrupt(f"{what}: file {path!r} is missing or points outside")
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != expected:
            raise Corrupt(f"{what}: file {path!r} has sha256 {found}, its manifest says {expected}")
