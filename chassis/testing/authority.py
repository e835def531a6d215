"""A certificate authority on this machine, for tests and local runs; its own key is never written down."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chassis.tls.certificates import CertificatePaths

BACKDATED = timedelta(hours=1)  # clocks of two machines differ


class LocalAuthority:
    """Issues certificates for loopback. Two with the same name are two authorities that do not trust each other."""

    def __init__(self, name: str = "corkboard local") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        # With key identifiers a chain is found although a new authority has the old one's name.
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        builder = _builder(self._name, self._name, self._key, timedelta(days=365))
        builder = builder.add_extension(identifier, critical=False)
        certificate = _sign(builder.add_extension(x509.BasicConstraints(True, 0), critical=True), self._key)
        self.pem = certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        *uris: str,
        common_name: str = "",
        dns_names: Sequence[str] = (),
        valid_for: timedelta = timedelta(days=1),
    ) -> tuple[bytes, bytes]:
        """A certificate and its key, as PEM, with the URIs as names, valid for loopback and `dns_names`; a negative
        `valid_for` gives one that has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        loopback = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        hosts = [x509.DNSName(name) for name in dns_names]
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = _builder(subject, self._name, key, valid_for).add_extension(self._issuer, critical=False)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([*names, *hosts, *loopback]), critical=not common_name
        )
        certificate = _sign(builder.add_extension(usage, critical=False), self._key)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), pem

    def write(
        self,
        folder: Path,
        *uris: str,
        trusts: "tuple[LocalAuthority, ...]" = (),
        valid_for: timedelta = timedelta(days=1),
    ) -> CertificatePaths:
        """Issue one into `folder` as a Kubernetes secret has it; it trusts this authority unless told whom."""
        folder.mkdir(parents=True, exist_ok=True)
        chain, key = self.issue(*uris, valid_for=valid_for)
        authorities = b"".join(one.pem for one in trusts or (self,))
        paths = CertificatePaths(*(str(folder / name) for name in ("tls.crt", "tls.key", "ca.crt")))
        for path, pem in ((paths.chain, chain), (paths.key, key), (paths.authorities, authorities)):
            _replace(Path(path), pem)
        return paths


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid_for: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + valid_for) - BACKDATED)
        .not_valid_after(now + valid_for)
    )


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _replace(path: Path, content: bytes) -> None:
    half = path.with_suffix(".half")
    half.touch(mode=0o600)
    half.write_bytes(content)
    half.replace(path)
