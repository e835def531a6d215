"""How a process proves to Redis or Valkey who it is: TLS, a client certificate, a name with a password; or nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field
from redis.asyncio.connection import SSLConnection
from redis.credentials import CredentialProvider

from chassis.config import ServiceConfig
from chassis.errors import Invalid
from chassis.tls.context import ReloadingContext


class RedisConfig(ServiceConfig):
    """The settings of a service that has a Redis; its address, `redis_url`, is the service's own field."""

    redis_username: str = Field("", description="Name towards Redis; empty = its default user.")
    redis_password_path: str = Field("", description="File with the password towards Redis, read at each connection.")
    redis_ca_path: str = Field("", description="Authorities of Redis' certificate, PEM; for a rediss:// address.")
    redis_cert_path: str = Field("", description="Own certificate towards Redis, PEM; empty = none is shown.")
    redis_key_path: str = Field("", description="Key of that certificate, PEM.")


@dataclass(frozen=True)
class RedisSecurity:
    """Paths are looked at again for each new connection, so that nothing restarts when a file changes."""

    username: str = ""
    password_path: str = ""
    ca_path: str = ""
    cert_path: str = ""
    key_path: str = ""

    @classmethod
    def of(cls, config: BaseModel) -> Self:
        """From the `redis_*` fields of a service's Config."""
        return cls(**{name: getattr(config, f"redis_{name}") for name in cls.__dataclass_fields__})

    def password(self) -> str:
        """Raises: Invalid when its file cannot be read."""
        try:
            return Path(self.password_path).read_text().strip()
        except OSError as error:
            raise Invalid(
                f"{self.password_path} cannot be read: {error.strerror}", field="redis_password_path"
            ) from error

    def options(self, url: str) -> dict[str, Any]:
        """Arguments of a pool for `url`. Raises: Invalid when the two do not fit, or a file cannot be used."""
        if self.ca_path and not url.startswith("rediss://"):
            raise Invalid("redis_ca_path needs an address that begins with rediss://", field="redis_url")
        if not self.password_path:
            return {}
        if "@" in url:
            raise Invalid("a password is in redis_url already: give redis_password_path or that", field="redis_url")
        self.password()
        return {"credential_provider": FilePassword(self)}

    def connection_class(self) -> type[SSLConnection] | None:
        """For TLS with our files; None leaves it to the URL."""
        if not self.ca_path:
            return None
        context = ReloadingContext.of(self.ca_path, self.cert_path, self.key_path)

        class ReloadingConnection(SSLConnection):
            """redis-py reads certificates once for each connection object, which outlives the connection."""

            def _connection_arguments(self) -> dict[str, Any]:
                return {**super()._connection_arguments(), "ssl": context}

        return ReloadingConnection


class FilePassword(CredentialProvider):
    """What is sent at each connection: the password that is in the file now."""

    def __init__(self, security: RedisSecurity) -> None:
        self._security = security

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """redis-py's port."""
        security = self._security
        password = security.password()
        return (security.username, password) if security.username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same; a file of some bytes does not hold up the loop."""
        return self.get_credentials()


NO_SECURITY = RedisSecurity()
