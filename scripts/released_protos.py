"""Records the wire meaning of every message in protos/released.json; refuses to record a breaking change."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.test_protos import PROTOS, RELEASED, broken, shape  # noqa: E402  # after the path is set


def main() -> int:
    """Write the file; exit 1 and name what would break when something would."""
    with tempfile.NamedTemporaryFile() as out:
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", f"--descriptor_set_out={out.name}"]
        subprocess.run([*command, *map(str, PROTOS)], cwd=ROOT, check=True)  # noqa: S603
        current = shape(descriptor_pb2.FileDescriptorSet.FromString(Path(out.name).read_bytes()))
    released = json.loads(RELEASED.read_text()) if RELEASED.exists() else {}
    if changes := broken(released, current):
        sys.stderr.write("breaking changes:\n" + "\n".join(changes) + "\n")
        return 1
    RELEASED.write_text(json.dumps(current, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
