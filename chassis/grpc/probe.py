"""`python -m chassis.grpc.probe HOST:PORT [FOLDER]`: asks a service's health; exit 0 = serving, else it says why not.

FOLDER has tls.crt, tls.key and ca.crt for mTLS; without it the call is plaintext.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 5.0


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    if len(arguments) not in (1, 2):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    with _channel(*arguments) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S, wait_for_ready=True)
        except grpc.RpcError as error:
            sys.stderr.write(f"{arguments[0]} did not answer: {error.code().name} {error.details()}\n")
            return 1
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    sys.stdout.write(f"{arguments[0]} {status}\n")
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


def _channel(address: str, folder: str = "") -> grpc.Channel:
    if not folder:
        return grpc.insecure_channel(address)
    authorities, key, chain = ((Path(folder) / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(authorities, key, chain))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
