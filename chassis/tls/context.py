"""TLS towards servers that are not ours, with files that may change while the process runs."""

import ssl
from pathlib import Path
from typing import Any, Self

from chassis.errors import Invalid
from chassis.logs import get_logger

Stamp = tuple[tuple[int, int], ...]


class ReloadingContext(ssl.SSLContext):
    """A client's context that looks before each handshake whether its files have changed.

    A change that does not hold together is said and not used. An authority that has gone from its file stays trusted
    until the process ends: OpenSSL only adds.
    """

    _ca_path: str
    _cert_path: str
    _key_path: str
    _stamp: Stamp

    @classmethod
    def of(cls, ca_path: str, cert_path: str = "", key_path: str = "") -> Self:
        """Checks servers against `ca_path` and shows `cert_path`, if given. Raises: Invalid naming a bad file."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._ca_path, context._cert_path, context._key_path = ca_path, cert_path, key_path
        try:
            context._stamp = context._stamps()
            context._read()
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(filter(None, (ca_path, cert_path, key_path)))
            raise Invalid(f"{files}: no use for TLS: {error}", field=ca_path, reason="bad_certificate") from error
        return context

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """What asyncio calls for each new connection."""
        try:
            stamp = self._stamps()
            if stamp != self._stamp:
                self._read()
                self._stamp = stamp
        except (OSError, ssl.SSLError) as error:
            get_logger(__name__).error("changed certificates are not used", file=self._cert_path, error=repr(error))
        return super().wrap_bio(*arguments, **options)

    def _read(self) -> None:
        if self._cert_path:
            self.load_cert_chain(self._cert_path, self._key_path)
        self.load_verify_locations(self._ca_path)

    def _stamps(self) -> Stamp:
        paths = filter(None, (self._ca_path, self._cert_path, self._key_path))
        stats = [Path(path).stat() for path in paths]
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)
