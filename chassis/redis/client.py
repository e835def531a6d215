"""One Redis or Valkey connection pool with short time-outs, and its errors in our words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from chassis.deadline import Deadline
from chassis.errors import DeadlineExceeded, Unavailable
from chassis.redis.security import NO_SECURITY, RedisSecurity

WRONG_TYPE = "store_wrong_type"  # reason of an error: a key holds another kind of value than the command is for


class RedisClient:
    """A part that owns a pool. It connects with the first command, so a dead server never blocks a start.

    Raises: Invalid when the security does not fit the address, or a file of it cannot be used.
    """

    name = "redis"

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 0.5,
        connect_timeout_s: float = 0.2,
        max_connections: int = 64,
        security: RedisSecurity = NO_SECURITY,
    ) -> None:
        pool = ConnectionPool.from_url(
            url,
            decode_responses=False,
            socket_timeout=timeout_s,
            socket_connect_timeout=connect_timeout_s,
            max_connections=max_connections,
            retry=Retry(NoBackoff(), 1),
            health_check_interval=30,
            **security.options(url),
        )
        pool.connection_class = security.connection_class() or pool.connection_class
        self.connection: Redis = Redis.from_pool(pool)

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Nothing to wait for."""

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002  # closing does not wait
        """Close every connection."""
        await self.connection.aclose()


@asynccontextmanager
async def translated(what: str = "the online store") -> AsyncIterator[None]:
    """Run commands with redis' errors as chassis errors.

    Raises: DeadlineExceeded, Unavailable.
    """
    try:
        yield
    except RedisTimeoutError as error:
        raise DeadlineExceeded(f"{what} did not answer in time", reason="store_timeout") from error
    except (RedisConnectionError, OSError) as error:
        raise Unavailable(f"{what} cannot be reached", reason="store_unavailable", retry_after_s=0.5) from error
    except ResponseError as error:
        is_wrong_type = "WRONGTYPE" in str(error)
        reason = WRONG_TYPE if is_wrong_type else "store_error"
        raise Unavailable(f"{what} refused a command: {type(error).__name__}", reason=reason) from error
    except RedisError as error:
        raise Unavailable(f"{what} refused a command: {type(error).__name__}", reason="store_error") from error
