"""What a bundle says about itself, and what an announcement says about a bundle."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import PurePosixPath

from chassis import strict_json
from chassis.errors import Corrupt, Invalid

MANIFEST = "manifest.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Manifest:
    """Content of `manifest.json`. `files` maps each relative path to the sha256 of its bytes (64 hex digits)."""

    name: str
    version: str
    created_at: str  # ISO 8601, UTC
    git_commit: str
    inputs: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def created_time_ms(self) -> int:
        """Epoch milliseconds of `created_at`."""
        return int(datetime.fromisoformat(self.created_at).timestamp() * 1000)

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same manifest gives the same bytes."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes, what: str) -> "Manifest":
        """Raises: Corrupt when `data` is not a manifest or names a path outside of its directory."""
        try:
            manifest = cls(**strict_json.loads(data))
            for path, digest in manifest.files.items():
                check_path(path)
                if not re.fullmatch(r"[0-9a-f]{64}", digest):
                    raise Corrupt(f"manifest of {what}: {path!r} has no sha256")
            check_name("name", manifest.name)
            check_name("version", manifest.version)
            datetime.fromisoformat(manifest.created_at)
        except (TypeError, ValueError, AttributeError, Invalid) as error:
            raise Corrupt(f"manifest of {what} is not readable: {error}") from error
        return manifest


@dataclass(frozen=True)
class Release:
    """An announced bundle. `uri` is the fsspec URI of its directory; `manifest_sha256` is of `manifest.json`."""

    name: str
    version: str
    uri: str
    manifest_sha256: str
    released_time_ms: int
    released_by: str = ""


def check_name(field: str, value: str) -> None:
    """Raises: Invalid when `value` cannot be one folder name."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise Invalid(
            f"bundle {field} {str(value)[:100]!r} must be 1-200 letters, digits, '.', '_' or '-', "
            "the first a letter or digit",
            field=field,
        )


def check_release(release: Release) -> None:
    """Raises: Invalid when an announcement's name, version or digest could be anything but that: they become paths."""
    check_name("name", release.name)
    check_name("version", release.version)
    if not re.fullmatch(r"([0-9a-f]{64})?", release.manifest_sha256):
        raise Invalid(f"{release.manifest_sha256[:100]!r} is no sha256", field="manifest_sha256")


def check_path(path: str) -> None:
    """Raises: Invalid unless `path` is relative, normal and stays inside of its directory."""
    parts = PurePosixPath(path).parts
    is_normal = bool(parts) and str(PurePosixPath(path)) == path
    if not is_normal or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path or ":" in parts[0]:
        raise Invalid(f"path {path!r} of a bundle must be relative and stay inside of it", field="files")
    if path == MANIFEST:
        raise Invalid(f"{MANIFEST} is written by the store and cannot be one of the files", field="files")


def sha256(data: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()
