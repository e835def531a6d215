"""Where bundles are kept: any file system fsspec knows, each version a directory that is whole or not there."""

import contextlib
import hashlib
import io
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from chassis.bundles.git import current_commit
from chassis.bundles.release import MANIFEST, Manifest, Release, check_name, check_path, check_release, sha256
from chassis.bundles.verify import verify
from chassis.errors import Conflict, Corrupt, Invalid, NotFound

Source = Mapping[str, bytes] | Path


class BundleStore:
    """Bundles under one fsspec URI, as `<uri>/<name>/<version>/`. Calls block: use a thread from a coroutine.

    `cache_dir` holds copies of bundles that lie on another machine; it is not used for local ones.
    """

    def __init__(self, uri: str, *, cache_dir: Path | None = None) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(uri)
        self._cache_dir = cache_dir or Path(tempfile.gettempdir()) / "corkboard-bundles"

    def write(
        self, name: str, version: str, files: Source, inputs: Mapping[str, str] | None = None, *, released_by: str = ""
    ) -> Release:
        """Write a new version whole and return what to announce. The same content again changes nothing.

        `files` is relative path -> bytes, or a directory whose files are copied.
        Raises: Invalid for a bad name or path, Conflict when the version exists with other content.
        """
        check_name("name", name)
        check_name("version", version)
        digests = _digests(files)
        if (existing := self._existing(name, version, digests, released_by)) is not None:
            return existing
        created_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        manifest = Manifest(name, version, created_at, current_commit(), dict(inputs or {}), digests)
        self._put(manifest, files)
        # A second writer may have been first: what lies there now decides.
        written = self._existing(name, version, digests, released_by)
        if written is None:
            raise Corrupt(f"bundle {name}/{version} is gone just after it was written")
        return written

    def open(self, release: Release) -> Path:
        """A local directory with every file verified; for another file system, a copy in the cache.

        Only a directory of this store is opened: an announcement must not make a process read from anywhere else.

        Raises: NotFound, Corrupt when it lies elsewhere or any byte differs from what release and manifest say.
        """
        fs, path = self._place(release)
        if isinstance(fs, LocalFileSystem):
            verify(Path(path), release)
            return Path(path)
        return self._cached(fs, path, release)

    def list(self, name: str) -> Sequence[Release]:
        """Every version of `name`, oldest first."""
        check_name("name", name)
        manifests = [self._manifest(name, version) for version in self._children(f"{self._root}/{name}")]
        found = sorted((m.created_at, m.version, digest) for m, digest in filter(None, manifests))
        by_version = {m.version: m for m, _ in filter(None, manifests)}
        return [self._release(by_version[version], digest, "") for _, version, digest in found]

    def names(self) -> Sequence[str]:
        """Names that have at least one folder here, sorted."""
        return self._children(self._root)

    def _existing(self, name: str, version: str, digests: Mapping[str, str], released_by: str) -> Release | None:
        found = self._manifest(name, version)
        if found is None:
            return None
        manifest, manifest_sha256 = found
        if manifest.files != digests:
            changed = sorted(path for path, _ in dict(manifest.files).items() ^ dict(digests).items())
            raise Conflict(f"bundle {name}/{version} exists with other content: {changed[:5]}", field="version")
        return self._release(manifest, manifest_sha256, released_by)

    def _manifest(self, name: str, version: str) -> tuple[Manifest, str] | None:
        try:
            data: bytes = self._fs.cat_file(f"{self._path(name, version)}/{MANIFEST}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Manifest.from_bytes(data, f"{name}/{version}"), sha256(data)

    def _release(self, manifest: Manifest, manifest_sha256: str, released_by: str) -> Release:
        uri = self._fs.unstrip_protocol(self._path(manifest.name, manifest.version))
        return Release(manifest.name, manifest.version, uri, manifest_sha256, manifest.created_time_ms, released_by)

    def _put(self, manifest: Manifest, files: Source) -> None:
        target = self._path(manifest.name, manifest.version)
        if isinstance(self._fs, LocalFileSystem):
            self._put_by_rename(manifest, files, Path(target))
            return
        # Object stores have no rename: the manifest is written last, and without it a version is not there.
        for path in manifest.files:
            with self._fs.open(f"{target}/{path}", "wb") as out, _reading(files, path) as chunks:
                shutil.copyfileobj(chunks, out)
        self._fs.pipe_file(f"{target}/{MANIFEST}", manifest.to_bytes())

    def _put_by_rename(self, manifest: Manifest, files: Source, target: Path) -> None:
        staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            for path in manifest.files:
                (staging / path).parent.mkdir(parents=True, exist_ok=True)
                with (staging / path).open("wb") as out, _reading(files, path) as chunks:
                    shutil.copyfileobj(chunks, out)
            staging.mkdir(parents=True, exist_ok=True)
            (staging / MANIFEST).write_bytes(manifest.to_bytes())
            with contextlib.suppress(OSError):  # lost a race: the winner's content is compared by the caller
                staging.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _cached(self, fs: Any, path: str, release: Release) -> Path:
        target = self._cache_dir / release.name / f"{release.version}-{release.manifest_sha256[:16]}"
        if target.is_dir():
            with contextlib.suppress(Corrupt):
                verify(target, release)
                return target
            shutil.rmtree(target, ignore_errors=True)
        staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            _download(fs, path, staging, release)
            verify(staging, release)
            with contextlib.suppress(OSError):  # another process has put the same verified bytes there
                staging.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return target

    def _place(self, release: Release) -> tuple[Any, str]:
        try:
            check_release(release)
            fs, path = fsspec.core.url_to_fs(release.uri)
        except (Invalid, ValueError, ImportError) as error:
            raise Corrupt(f"announcement of a bundle: {error}") from error
        if type(fs) is not type(self._fs) or path.rstrip("/") != self._path(release.name, release.version):
            raise Corrupt(
                f"bundle {release.name}/{release.version} is announced at {release.uri[:200]}, outside of {self._root}",
                field="uri",
            )
        return fs, path

    def _path(self, name: str, version: str) -> str:
        return f"{self._root}/{name}/{version}"

    def _children(self, path: str) -> Sequence[str]:
        self._fs.invalidate_cache()
        try:
            entries = self._fs.ls(path, detail=True)
        except FileNotFoundError:
            return []
        folders = (entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory")
        return sorted(folder for folder in folders if not folder.startswith("."))


def _digests(files: Source) -> dict[str, str]:
    if isinstance(files, Path):
        if not files.is_dir():
            raise Invalid(f"{files} is not a directory", field="files")
        found = sorted(path for path in files.rglob("*") if path.is_file())
        relative = [path.relative_to(files).as_posix() for path in found]
        paths = [path for path in relative if path != MANIFEST]
    else:
        paths = sorted(files)
    for path in paths:
        check_path(path)
    if not paths:
        raise Invalid("a bundle needs at least one file", field="files")
    digests = {}
    for path in paths:
        with _reading(files, path) as chunks:
            digests[path] = hashlib.file_digest(chunks, "sha256").hexdigest()
    return digests


@contextlib.contextmanager
def _reading(files: Source, path: str) -> Iterator[Any]:
    if isinstance(files, Path):
        with (files / path).open("rb") as stream:
            yield stream
    else:
        yield io.BytesIO(files[path])


def _download(fs: Any, path: str, staging: Path, release: Release) -> None:
    staging.mkdir(parents=True)
    try:
        data: bytes = fs.cat_file(f"{path}/{MANIFEST}")
        if release.manifest_sha256 and sha256(data) != release.manifest_sha256:
            raise Corrupt(f"manifest of {release.uri} is not the released one")
        (staging / MANIFEST).write_bytes(data)
        for name in Manifest.from_bytes(data, release.uri).files:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            fs.get_file(f"{path}/{name}", str(staging / name))
    except FileNotFoundError as error:
        raise NotFound(f"bundle {release.name}/{release.version}: no {error} at {release.uri}") from error
