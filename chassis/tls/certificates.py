"""A process's certificate, its key and the authorities it trusts, checked before anything uses them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from chassis.errors import Invalid


@dataclass(frozen=True)
class CertificatePaths:
    """PEM files: the own chain (leaf first), its key, and the authorities that peers' certificates must come from."""

    chain: str
    key: str
    authorities: str


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the files held, whole and fitting together; `expires_at_s` is epoch seconds, of the leaf."""

    chain_pem: bytes
    key_pem: bytes
    authorities_pem: bytes
    expires_at_s: float


def read_certificates(paths: CertificatePaths) -> Certificates:
    """Read the three files and check that they fit together and are valid now.

    Raises: Invalid naming the file and what to do. A secret that is being replaced may give a key and a certificate
    that do not belong together; reading again a little later gives a pair.
    """
    chain_pem, key_pem, authorities_pem = (_bytes(path) for path in (paths.chain, paths.key, paths.authorities))
    leaf = _certificates(chain_pem, paths.chain)[0]
    _certificates(authorities_pem, paths.authorities)
    _check_key(leaf, key_pem, paths)
    _check_dates(leaf, paths.chain)
    return Certificates(chain_pem, key_pem, authorities_pem, leaf.not_valid_after_utc.timestamp())


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error


def _certificates(pem: bytes, path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise _bad(path, "holds no certificate in PEM") from error


def _check_key(leaf: x509.Certificate, key_pem: bytes, paths: CertificatePaths) -> None:
    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _bad(paths.key, "holds no private key in PEM without a pass phrase") from error
    if key.public_key() != leaf.public_key():
        raise _bad(paths.key, f"is not the key of the certificate in {paths.chain}")


def _check_dates(leaf: x509.Certificate, path: str) -> None:
    now = datetime.now(UTC)
    if now > leaf.not_valid_after_utc:
        raise _bad(path, f"expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: issue a new one")
    if now < leaf.not_valid_before_utc:
        raise _bad(path, f"is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: is the clock right?")


def _bad(path: str, what: str) -> Invalid:
    return Invalid(f"{path} {what}", field=path, reason="bad_certificate")
