"""The control socket: one line each way, to a supervisor that lives."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import NotFound, Unavailable
from corkboard.local.control import ControlServer, ask
from corkboard.local.home import Home


def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
    if request["verb"] == "echo":
        return dict(request)
    raise NotFound(f"unknown verb {request['verb']!r}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Home(tmp_path).control_socket


@pytest.fixture
def server(path: Path) -> Iterator[ControlServer]:
    server = ControlServer(path, answer)
    server.start()
    yield server
    server.stop()


def test_a_request_comes_back_answered(server: ControlServer, path: Path) -> None:
    assert ask(path, "echo", name="müsli", number=3) == {"verb": "echo", "name": "müsli", "number": 3}
    assert ask(path, "echo") == {"verb": "echo"}


def test_an_unknown_verb_is_named(server: ControlServer, path: Path) -> None:
    with pytest.raises(NotFound, match="unknown verb 'dance'"):
        ask(path, "dance")


def test_only_its_owner_may_use_the_socket(server: ControlServer, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_supervisor_is_unavailable_and_says_what_to_do(path: Path) -> None:
    with pytest.raises(Unavailable, match="corkboard up"):
        ask(path, "echo")


def test_a_dead_supervisors_socket_is_unavailable_and_can_be_taken_over(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    try:
        with pytest.raises(Unavailable):
            ask(path, "echo")
        server = ControlServer(path, answer)
        server.start()
        assert ask(path, "echo") == {"verb": "echo"}
        server.stop()
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)


def test_a_deep_folder_still_has_a_short_socket_path(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(["a-folder-with-a-long-name"] * 8))
    assert len(str(Home(deep).control_socket)) < 100
    assert Home(deep).control_socket != Home(tmp_path).control_socket
