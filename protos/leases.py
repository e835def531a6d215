"""Leases of global rules, asked for over gRPC."""

from typing import Any

from chassis.grpc.client import ChannelPool
from chassis.protection.lease import Grant
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc

CALL_S = 1.0  # a lease's life counts from when it was asked for: a late answer is worth little


class GrpcLeaseSource:
    """LeaseSource: the quota service, for the process `client_id`."""

    def __init__(self, pool: ChannelPool, client_id: str) -> None:
        self._pool, self._client_id = pool, client_id

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
        return await self._pool.call(rpc.LeaseServiceStub, method, request, timeout_s=CALL_S)


def _grant(lease: pb.Lease) -> Grant:
    return Grant(lease.lease_id, lease.rate, lease.burst, lease.duration_ms / 1000, lease.epoch)
