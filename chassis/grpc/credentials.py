"""TLS with certificates on both sides for gRPC, from certificates that may change while the process runs."""

import grpc

from chassis.tls import Certificates, CertificateSource


def server_credentials(source: CertificateSource) -> grpc.ServerCredentials:
    """Credentials of a door that takes only callers with a certificate of a trusted authority.

    gRPC asks before each handshake, in a thread of its own, so a connection made after a change uses the new ones.
    """
    used = source.current

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        newest = source.current
        if newest is used:
            return None
        configuration = _configuration(newest)
        used = newest
        return configuration

    return grpc.dynamic_ssl_server_credentials(
        _configuration(used),
        fetch,  # type: ignore[arg-type]  # None means no change, which the types do not know
        require_client_authentication=True,
    )


def channel_credentials(source: CertificateSource) -> grpc.ChannelCredentials:
    """Credentials of one channel: a later change needs a new channel."""
    now = source.current
    return grpc.ssl_channel_credentials(now.authorities_pem, now.key_pem, now.chain_pem)


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pair = (certificates.key_pem, certificates.chain_pem)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=certificates.authorities_pem)
