"""The page as a process: `python -m corkboard.page --port N --port-base N --database FILE`."""

import argparse
import asyncio
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from corkboard.local.ports import Ports
from corkboard.page.app import make_app
from corkboard.page.backend import Backend
from corkboard.page.quota_backend import QuotaBackend
from corkboard.session import Endpoints, connected
from corkboard.traces.store import TraceStore


async def serve(port: int, endpoints: Endpoints, store: TraceStore) -> None:
    """Until cancelled; on loopback only, as it may publish for anyone."""
    async with connected(endpoints) as session:
        runner = web.AppRunner(make_app(Backend(session, store), QuotaBackend(session)), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--port-base", type=int, required=True)
    parser.add_argument("--certificates", type=Path, help="folder of everybody's, while mTLS is on")
    parser.add_argument("--database", type=Path, required=True, help="spans, as the trace receiver keeps them")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        endpoints = Endpoints(Ports(arguments.port_base), certificates=arguments.certificates)
        asyncio.run(serve(arguments.port, endpoints, TraceStore(arguments.database)))


if __name__ == "__main__":
    main()
