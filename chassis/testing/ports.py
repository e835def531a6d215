"""Ports for servers that tests start, stop and start again."""

import random
import socket

# Below the ports that systems give to clients (Linux: 32768 and up): while a server is away, nobody's connection takes
# its port. Elsewhere than the ports of `corkboard up` and of end-to-end tests.
RANGE = range(10_000, 20_000)
_random = random.SystemRandom()


def free_ports(num: int) -> list[int]:
    """Different ports that nobody listens on now."""
    found: list[int] = []
    while len(found) < num:
        port = _random.choice(RANGE)
        if port not in found and _is_free(port):
            found.append(port)
    return found


def free_port() -> int:
    """A port that nobody listens on now."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
