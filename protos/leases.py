"""Leases of global rules, asked for over gRPC."""

import time
from collections.abc import Sequence
from typing import Any

from chassis.errors import DeadlineExceeded, Unavailable
from chassis.grpc.client import ChannelPool
from chassis.protection.lease import Grant
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc

CALL_S = 1.0  # a lease's life counts from when it was asked for: a late answer is worth little
MAX_TRIES = 3  # one address may be a name of several processes, of which one leads


class GrpcLeaseSource:
    """LeaseSource: the quota service, for the process `client_id`. It stays with the address that answered last: only
    one process of the quota service grants, and a call to another one is a lease that is renewed late.
    """

    def __init__(self, pools: Sequence[ChannelPool], client_id: str) -> None:
        self._pools, self._client_id = list(pools), client_id

    async def acquire(self, key: str, budget: str, demand_per_s: float) -> Grant:
        """See LeaseSource."""
        request = pb.AcquireRequest(key=key, budget=budget, client_id=self._client_id, demand=demand_per_s)
        return _grant(await self._call("Acquire", request))

    async def renew(self, lease_id: str, demand_per_s: float, held_per_s: float) -> Grant:
        """See LeaseSource."""
        request = pb.RenewRequest(
            lease_id=lease_id, client_id=self._client_id, demand=demand_per_s, held_rate=held_per_s
        )
        return _grant(await self._call("Renew", request))

    async def release(self, lease_id: str) -> None:
        """See LeaseSource."""
        await self._call("Release", pb.ReleaseRequest(lease_id=lease_id, client_id=self._client_id))

    async def _call(self, method: str, request: Any) -> Any:
        """Raises: Unavailable when nobody who leads could be asked in time."""
        give_up_s = time.monotonic() + CALL_S
        for num_left in range(max(MAX_TRIES, len(self._pools)) - 1, -1, -1):
            pool = self._pools[0]
            try:
                return await pool.call(rpc.LeaseServiceStub, method, request, timeout_s=self._share_of(give_up_s))
            except (Unavailable, DeadlineExceeded):
                self._pools.append(self._pools.pop(0))
                if num_left == 0 or time.monotonic() >= give_up_s:
                    raise
        raise AssertionError("the last try returns or raises")

    def _share_of(self, give_up_s: float) -> float:
        """An address that takes a call and never answers must leave time for the next one."""
        left_s = max(0.0, give_up_s - time.monotonic())
        return left_s if len(self._pools) == 1 else min(left_s, CALL_S / 2)


def _grant(lease: pb.Lease) -> Grant:
    return Grant(lease.lease_id, lease.rate, lease.burst, lease.duration_ms / 1000, lease.epoch)
