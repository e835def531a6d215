"""Settings: what is accepted, what is refused and with which words, what is shown."""

from typing import Any

import pytest
from pydantic import Field

from chassis.config import ServiceConfig, load, redacted
from chassis.errors import Invalid


class Config(ServiceConfig):
    """A service's own settings."""

    read_timeout_ms: int = Field(50, ge=1, le=1_000, description="Longest read, milliseconds.")
    redis_url: str = Field("redis://127.0.0.1/0", description="The store.")
    page_token_key: str = Field("", description="Signs page tokens.")
    peers: dict[str, str] = Field(default_factory=dict, description="Addresses by name.")


def read(**environ: str) -> Config:
    return load(Config, "TEST_", environ)


def test_variables_with_the_prefix_are_read_and_others_are_not() -> None:
    config = read(TEST_GRPC_PORT="7101", TEST_ZONE="az-a", OTHER_GRPC_PORT="1", PATH="/bin")
    assert (config.grpc_port, config.zone, config.admin_port) == (7101, "az-a", 0)


def test_instance_is_host_and_pid_when_not_given() -> None:
    assert read().instance.count("-") >= 1
    assert read(TEST_INSTANCE="one").instance == "one"


def test_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().zone = "az-b"  # type: ignore[misc]


def test_unknown_variable_is_named_with_the_nearest_field() -> None:
    with pytest.raises(Invalid, match=r"TEST_GRPC_PROT; did you mean TEST_GRPC_PORT\?") as raised:
        read(TEST_GRPC_PROT="1")
    assert raised.value.field == "TEST_GRPC_PROT"


def test_every_unknown_variable_is_named() -> None:
    with pytest.raises(Invalid, match="TEST_QQQQ; unknown setting TEST_ZONES; did you mean TEST_ZONE"):
        read(TEST_ZONES="a", TEST_QQQQ="b")


def test_lower_case_is_not_the_same_variable() -> None:
    with pytest.raises(Invalid, match="TEST_zone"):
        read(TEST_zone="a")


@pytest.mark.parametrize("value", ["", "abc", "0", "1001", "1.5", "NaN", "1e99"])
def test_bad_value_names_variable_and_unit(value: str) -> None:
    with pytest.raises(Invalid, match=r"TEST_READ_TIMEOUT_MS .*milliseconds") as raised:
        read(TEST_READ_TIMEOUT_MS=value)
    assert raised.value.field == "TEST_READ_TIMEOUT_MS"


def test_every_bad_value_is_named() -> None:
    with pytest.raises(Invalid, match=r"(?s)TEST_GRPC_PORT.*TEST_LOG_LEVEL"):
        read(TEST_GRPC_PORT="70000", TEST_LOG_LEVEL="loud")


def test_message_of_a_bad_value_does_not_repeat_it() -> None:
    with pytest.raises(Invalid) as raised:
        read(TEST_PEERS="hunter2")
    assert "hunter2" not in raised.value.message


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("redis://user:pass@host:1/0", "redis://***@host:1/0"),
        ("redis://user:p@ss@host/0", "redis://***@host/0"),
        ("redis://:a@h1,redis://:b@h2", "redis://***@h1,redis://***@h2"),
        ("redis://host/0?password=hunter2&x=1", "redis://host/0?password=***&x=1"),
        ("redis://host/0", "redis://host/0"),
    ],
)
def test_secrets_inside_of_urls_are_not_shown(given: str, shown: str) -> None:
    assert redacted(read(TEST_REDIS_URL=given))["redis_url"] == shown


def test_secrets_are_not_shown_and_the_rest_is() -> None:
    shown: dict[str, Any] = redacted(Config(page_token_key="hunter2", zone="az-a", peers={"cg": "grpc://a:b@c"}))
    assert (shown["page_token_key"], shown["zone"]) == ("***", "az-a")
    assert shown["peers"] == {"cg": "grpc://***@c"}
    assert redacted(Config())["page_token_key"] == ""


TLS = {"TEST_TLS_CERT_PATH": "tls.crt", "TEST_TLS_KEY_PATH": "tls.key", "TEST_TLS_CA_PATH": "ca.crt"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_plaintext_stays_on_loopback_unless_it_is_asked_for(host: str) -> None:
    assert not read(TEST_GRPC_HOST=host).tls_enabled
    for beyond in ("10.0.0.7", "::", "quota.example"):
        with pytest.raises(Invalid, match="tls_enabled, or plaintext_enabled") as raised:
            read(TEST_GRPC_HOST=beyond)
        assert raised.value.field == "TEST_PLAINTEXT_ENABLED"
        assert read(TEST_GRPC_HOST=beyond, TEST_PLAINTEXT_ENABLED="true").grpc_host == beyond
        assert read(TEST_GRPC_HOST=beyond, TEST_TLS_ENABLED="true", **TLS).tls_enabled


@pytest.mark.parametrize("missing", TLS)
def test_with_tls_every_file_is_needed(missing: str) -> None:
    with pytest.raises(Invalid, match=f"{missing}.*needed while tls_enabled"):
        read(TEST_TLS_ENABLED="true", **{name: value for name, value in TLS.items() if name != missing})


@pytest.mark.parametrize("prefix", ["corkboard/", "spiffe://corkboard/ns/feeds/sa", "spiffe:///"])
def test_an_identity_prefix_ends_with_a_slash(prefix: str) -> None:
    with pytest.raises(Invalid, match="TEST_TLS_IDENTITY_PREFIX"):
        read(TEST_TLS_IDENTITY_PREFIX=prefix)
