"""gRPC core options of servers and channels, each with its reason."""

import json

from chassis.grpc.limits import MIB, ServerLimits

Options = list[tuple[str, int | str]]

# Both sides agree on pings: a silent half-open connection is noticed within ~12 s instead of minutes.
_KEEPALIVE_MS = 10_000
_KEEPALIVE_TIMEOUT_MS = 2_000
MAX_RESPONSE_BYTES = 32 * MIB


def server_options(limits: ServerLimits) -> Options:
    """Options of a server with these limits."""
    return [
        ("grpc.so_reuseport", 0),  # a taken port is an error, not a silent share
        # The guard refuses what is over a limit, with words and a count. What is far over it never gets that far.
        ("grpc.max_receive_message_length", limits.max_request_bytes() + MIB),
        ("grpc.max_metadata_size", 2 * limits.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", 2 * limits.max_metadata_bytes),  # no random band above the limit
        ("grpc.max_concurrent_streams", limits.max_streams_per_connection),
        # Who connects and then says nothing, or no TLS, is shown the door; an honest handshake takes milliseconds.
        ("grpc.server_handshake_timeout_ms", int(limits.handshake_timeout_s * 1000)),
        ("grpc.max_connection_idle_ms", 10 * 60_000),  # forgotten by a client that still answers pings
        ("grpc.max_connection_age_ms", 30 * 60_000),  # connections spread again after a scale-up
        ("grpc.max_connection_age_grace_ms", 60_000),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_MS // 2),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _KEEPALIVE_MS // 2),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def channel_options(*, has_retries: bool) -> Options:
    """Options of a client channel; `has_retries` lets gRPC retry UNAVAILABLE on the same target."""
    return [
        ("grpc.service_config", json.dumps(_service_config(has_retries))),
        ("grpc.enable_retries", 1),
        ("grpc.use_local_subchannel_pool", 1),  # channels of one pool must not share one connection
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 500),  # also the time one connection attempt gets
        ("grpc.max_reconnect_backoff_ms", 1_000),  # a restarted peer is used again within about a second
        ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.enable_http_proxy", 0),  # peers are inside; a proxy variable must not catch them
    ]


def _service_config(has_retries: bool) -> dict[str, object]:
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if has_retries:
        retry_policy = {
            "maxAttempts": 2,
            "initialBackoff": "0.02s",
            "maxBackoff": "0.2s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config["methodConfig"] = [{"name": [{}], "retryPolicy": retry_policy, "waitForReady": False}]
        # 10 tokens, a failure takes 1, a success gives 0.1, no retries below half: at most ~1.1x calls when steady.
        config["retryThrottling"] = {"maxTokens": 10, "tokenRatio": 0.1}
    return config
