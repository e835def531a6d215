"""Towards a real TLS server that asks for certificates: changed files are used for the next connection."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chassis.errors import Invalid
from chassis.testing.authority import LocalAuthority
from chassis.tls.context import ReloadingContext

CLIENT = ("user.crt", "user.key")


@pytest.fixture
def authority(tmp_path: Path) -> LocalAuthority:
    authority = LocalAuthority()
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    return authority


def show(folder: Path, authority: LocalAuthority, who: str) -> None:
    for name, pem in zip(CLIENT, authority.issue(common_name=who), strict=True):
        (folder / name).write_bytes(pem)


def context_of(folder: Path) -> ReloadingContext:
    return ReloadingContext.of(*(str(folder / name) for name in ("ca.crt", *CLIENT)))


@asynccontextmanager
async def server(folder: Path, authority: LocalAuthority) -> AsyncIterator[int]:
    """Answers each caller with the common name of their certificate."""
    for name, pem in zip(("server.crt", "server.key"), authority.issue(common_name="server"), strict=True):
        (folder / name).write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subject = writer.get_extra_info("peercert")["subject"]
        writer.write(dict(pair for (pair,) in subject)["commonName"].encode())
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def who_am_i(port: int, context: ssl.SSLContext) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_changed_certificate_is_shown_with_the_next_connection(
    tmp_path: Path, authority: LocalAuthority
) -> None:
    show(tmp_path, authority, "old")
    context = context_of(tmp_path)
    async with server(tmp_path, authority) as port:
        assert await who_am_i(port, context) == "old"
        show(tmp_path, authority, "new")
        assert await who_am_i(port, context) == "new"


async def test_a_change_that_does_not_hold_together_is_not_used(tmp_path: Path, authority: LocalAuthority) -> None:
    show(tmp_path, authority, "old")
    context = context_of(tmp_path)
    async with server(tmp_path, authority) as port:
        (tmp_path / "user.crt").write_text("half of a cert")
        assert await who_am_i(port, context) == "old"
        (tmp_path / "user.key").unlink()
        assert await who_am_i(port, context) == "old"
        show(tmp_path, authority, "new")
        assert await who_am_i(port, context) == "new"


async def test_a_server_of_a_foreign_authority_is_refused(tmp_path: Path, authority: LocalAuthority) -> None:
    show(tmp_path, authority, "client")
    context = context_of(tmp_path)
    async with server(tmp_path, authority) as port:
        (tmp_path / "ca.crt").write_bytes(LocalAuthority().pem)
        with pytest.raises(ssl.SSLCertVerificationError):
            await who_am_i(port, context_of(tmp_path))
        assert await who_am_i(port, context) == "client", "what was trusted stays so until the process ends"


@pytest.mark.parametrize("missing", ["ca.crt", *CLIENT])
def test_the_first_files_must_be_there(tmp_path: Path, authority: LocalAuthority, missing: str) -> None:
    show(tmp_path, authority, "client")
    (tmp_path / missing).unlink()
    with pytest.raises(Invalid, match=missing):
        context_of(tmp_path)
