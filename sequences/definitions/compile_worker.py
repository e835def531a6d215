"""The process that runs definition files: little memory, little time, no network, no other programs.

The limits keep a mistake in a definition from hurting the machine; they are no prison for hostile code, which a
review has to stop.
"""

import os
import resource
import sys
from pathlib import Path

from chassis.errors import Invalid
from sequences.definitions.collect import collect

FORBIDDEN_EVENTS = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork")
FAULT_STATUS = 2


def main(root: str, cpu_s: int, memory_bytes: int) -> int:
    """Write canonical JSON to stdout; 2 and a line on stderr when a definition is at fault."""
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a definition prints must not mix with the result
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    sys.addaudithook(_forbid)
    try:
        content = collect(Path(root)).canonical_json()
    except (Invalid, MemoryError) as error:
        sys.stderr.write(f"{getattr(error, 'message', '') or 'out of memory'}\n")
        return FAULT_STATUS
    with os.fdopen(output, "wb") as stream:
        stream.write(content)
    return 0


def _forbid(event: str, _arguments: object) -> None:
    if event.startswith(FORBIDDEN_EVENTS):
        raise PermissionError(f"definitions may not use {event}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
