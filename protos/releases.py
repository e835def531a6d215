"""Announcements of bundles between their protobuf and what the chassis verifies with."""

from google.protobuf.message import DecodeError

from chassis.bundles import Release
from chassis.bundles.release import check_release
from chassis.errors import Corrupt, Invalid
from protos.bundles.v1 import bundles_pb2 as pb


def encode_release(release: Release) -> bytes:
    """A value of the topics models.released and definitions.released; its key is `release.name`."""
    return pb.BundleRelease(
        name=release.name,
        version=release.version,
        uri=release.uri,
        manifest_sha256=release.manifest_sha256,
        released_time_ms=release.released_time_ms,
        released_by=release.released_by,
    ).SerializeToString(deterministic=True)


def decode_release(value: bytes) -> Release:
    """Raises: Corrupt when the bytes are no BundleRelease or it names nothing."""
    try:
        message = pb.BundleRelease.FromString(value)
    except DecodeError as error:
        raise Corrupt(f"{len(value)} bytes are no BundleRelease: {error}") from error
    if not (message.name and message.version and message.uri and message.manifest_sha256):
        raise Corrupt(f"BundleRelease {message.name!r}/{message.version!r} lacks a name, version, uri or sha256")
    release = Release(
        name=message.name,
        version=message.version,
        uri=message.uri,
        manifest_sha256=message.manifest_sha256,
        released_time_ms=message.released_time_ms,
        released_by=message.released_by,
    )
    try:
        check_release(release)
    except Invalid as error:
        raise Corrupt(f"BundleRelease: {error}", field=error.field) from error
    return release
