"""Certificates of a process: read from files, checked, read again when they change."""

from chassis.tls.certificates import CertificatePaths, Certificates, read_certificates
from chassis.tls.source import CertificateSource

__all__ = ["CertificatePaths", "CertificateSource", "Certificates", "read_certificates"]
