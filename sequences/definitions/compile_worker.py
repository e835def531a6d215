"""The process that runs definition files: little memory, little time, no network, no other programs.

The limits keep a mistake in a definition from hurting the machine; they are no prison for hostile code, which a
review has to stop.
"""

import json
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from chassis.errors import Invalid
from sequences.definitions.collect import collect
from sequences.definitions.definition import Definition

FORBIDDEN_EVENTS = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "ctypes.",
)
FORBIDDEN_MODULES = {"services", "corkboard", "modeling", "bench", "e2e", "tests"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
FAULT_STATUS = 2


def main(root: str, cpu_s: int, memory_bytes: int, progress_fd: int) -> int:
    """Write canonical JSON to stdout; 2 and a line on stderr when a definition is at fault.

    `progress_fd` gets one JSON line before and after each file, so that whoever stops this process knows where it was.
    """
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a definition prints must not mix with the result
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # SIGXCPU says which limit it was, SIGKILL would not
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    sys.addaudithook(_forbid)

    def report(file: str, found: Sequence[Definition] | None) -> None:
        defined = None if found is None else [each.name for each in found]
        os.write(progress_fd, json.dumps({"file": file, "defined": defined}).encode() + b"\n")

    try:
        content = collect(Path(root), report).canonical_json()
    except (Invalid, MemoryError) as error:
        sys.stderr.write(f"{getattr(error, 'message', '') or 'out of memory'}\n")
        return FAULT_STATUS
    while content:
        content = content[os.write(output, content) :]
    return 0


def _forbid(event: str, arguments: tuple[object, ...]) -> None:
    if event.startswith(FORBIDDEN_EVENTS):
        raise PermissionError(f"definitions may not use {event}")
    if event == "import" and str(arguments[0]).split(".")[0] in FORBIDDEN_MODULES:
        raise PermissionError(f"definitions may not import {arguments[0]}; they know only Python and sequences")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        raise PermissionError(f"definitions may not write files, such as {arguments[0]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:5])))
