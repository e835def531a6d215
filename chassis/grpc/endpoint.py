"""One address of a target: its channels, how loaded it is, whether it is fit for calls."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc import aio

from chassis.deadline import Deadline
from chassis.grpc.credentials import channel_credentials
from chassis.grpc.options import Options
from chassis.grpc.stub_methods import StubMethod
from chassis.grpc.target import Address
from chassis.tls import CertificateSource

# Many concurrent calls on one HTTP/2 connection queue behind each other, and stacks were seen to refuse streams from
# 64 on; a further channel is opened before that.
MAX_CALLS_PER_CHANNEL = 48
# 8 x 48 calls in flight to one process is beyond what it can answer in time.
MAX_CHANNELS = 8
# A unary call ends long before it; a stream is cut then, and its reader opens it again on a new channel.
RETIRE_WITHIN_S = 60.0
RETIRE_POLL_S = 0.05


@dataclass(slots=True, eq=False)
class PooledChannel:
    """A channel with the number of calls on it."""

    channel: Any
    in_flight: int = 0
    _callables: dict[str, Any] = field(default_factory=dict)

    def callable_of(self, method: StubMethod) -> Any:
        """What makes calls of `method` on this channel; made once."""
        found = self._callables.get(method.path)
        if found is None:
            make = self.channel.unary_stream if method.is_response_stream else self.channel.unary_unary
            found = make(method.path, request_serializer=method.serialize, response_deserializer=method.parse)
            self._callables[method.path] = found
        return found


class Endpoint:
    """Opens channels when they are first needed, or told to; nobody waits, so a dead peer never blocks a start."""

    def __init__(self, address: Address, options: Options, certificates: CertificateSource | None = None) -> None:
        self.address = address
        self.zone = address.zone
        self.num_failures_in_row = 0
        self.num_ejections = 0
        self.ejected_until_s = 0.0
        self._options = options
        self._certificates = certificates
        self._channels: list[PooledChannel] = []
        self._retired: list[PooledChannel] = []

    @property
    def in_flight(self) -> int:
        """Calls waiting for this endpoint."""
        return sum(channel.in_flight for channel in (*self._channels, *self._retired))

    def is_down(self) -> bool:
        """Whether the connection is known to be lost; gRPC keeps trying to get it back by itself."""
        if not self._channels:
            return False
        state = self._channels[0].channel.get_state()
        if state is grpc.ChannelConnectivity.CONNECTING:
            return self.num_failures_in_row > 0
        return state is grpc.ChannelConnectivity.TRANSIENT_FAILURE

    def channel(self) -> PooledChannel:
        """The channel for the next call."""
        for channel in self._channels:
            if channel.in_flight < MAX_CALLS_PER_CHANNEL:
                return channel
        if len(self._channels) < MAX_CHANNELS:
            self._channels.append(PooledChannel(self._open()))
            return self._channels[-1]
        return min(self._channels, key=lambda channel: channel.in_flight)

    def connect(self) -> None:
        """Begin to connect, without waiting: the first call finds an open connection, or one that is being made."""
        self.channel().channel.get_state(try_to_connect=True)

    async def renew(self) -> None:
        """Open new channels from now on; the old ones are closed when their calls have ended, or after a limit."""
        old, self._channels = self._channels, []
        self._retired += old
        give_up = Deadline.after(RETIRE_WITHIN_S)
        while any(channel.in_flight for channel in old) and give_up.remaining_s() > 0:
            await asyncio.sleep(RETIRE_POLL_S)
        for channel in old:
            await channel.channel.close()
        self._retired = [channel for channel in self._retired if channel not in old]

    async def close(self) -> None:
        """Close every channel; calls on them fail."""
        channels, self._channels = [*self._channels, *self._retired], []
        for channel in channels:
            await channel.channel.close()

    def _open(self) -> Any:
        target = self.address.host_port
        if self._certificates is not None:
            return aio.secure_channel(target, channel_credentials(self._certificates), options=self._options)
        return aio.insecure_channel(target, options=self._options)
