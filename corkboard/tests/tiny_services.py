"""Child processes small enough for unit tests, and free ports for them."""

import sys
from pathlib import Path

from chassis.testing.ports import free_port
from corkboard.local.plan import ServiceSpec
from corkboard.local.process import ManagedProcess

MODULE = "tiny_service"
SOURCE = """
import http.server, os, sys

if os.environ.get("TINY_EXIT"):
    print("I cannot go on", flush=True)
    sys.exit(int(os.environ["TINY_EXIT"]))


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()


http.server.HTTPServer(("127.0.0.1", int(os.environ["TINY_ADMIN_PORT"])), Ready).serve_forever()
"""


def tiny_spec(name: str, folder: Path, exit_code: str = "") -> ServiceSpec:
    """A process that answers /readyz at once, or ends at once with `exit_code`."""
    (folder / f"{MODULE}.py").write_text(SOURCE)
    admin_port = free_port()
    environment = {"PYTHONPATH": str(folder), "TINY_ADMIN_PORT": str(admin_port), "TINY_EXIT": exit_code}
    return ServiceSpec(name, MODULE, "local", free_port(), admin_port, environment)


def python(code: str, log_path: Path) -> ManagedProcess:
    """`python -c code`, not yet started."""
    return ManagedProcess("tiny", [sys.executable, "-c", code], {}, log_path)
