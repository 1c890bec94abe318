"""A proxy that counts the statements which clients send to a server: by what they say, whatever the server can tell."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import psycopg
from psycopg.conninfo import make_conninfo

LETTERS = 60
"""How much of a statement is enough to tell which it is."""


class CountingProxy:
    """Passes everything on, and counts.

    Args:
        host: The server's host, or the folder of its socket.
        port: Its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self.counts: Counter[str] = Counter()
        self.clients: set[asyncio.Task[None]] = set()
        self._host = host
        self._port = port

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        # In a task of its own, as the one that this is in says a lot when it is cancelled.
        self.clients.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._host.startswith("/"):
            path = f"{self._host}/.s.PGSQL.{self._port}"
            server_reader, server_writer = await asyncio.open_unix_connection(path)
        else:
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        answering = asyncio.ensure_future(_pass_on(server_reader, writer))
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._count(reader, server_writer)
        server_writer.close()
        with contextlib.suppress(ConnectionError):
            await answering

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What begins a session has no type; each message after that has one, and all of them have a length.
        kind = b""
        texts: dict[bytes, bytes] = {}
        while True:
            length = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(length) - 4)
            writer.write(kind + length + body)
            await writer.drain()
            if kind == b"P":
                name, text, *_ = body.split(b"\0", 2)
                texts[name] = text
            elif kind == b"B":
                _portal, name, *_ = body.split(b"\0", 2)
                self.counts[_beginning(texts.get(name, name))] += 1
            elif kind == b"Q":
                self.counts[_beginning(body)] += 1
            kind = await reader.readexactly(1)


@contextlib.asynccontextmanager
async def counting_proxy(dsn: str) -> AsyncIterator[tuple[CountingProxy, str]]:
    """A proxy before the server, and the DSN that leads through it."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        proxy = CountingProxy(connection.info.host, connection.info.port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield proxy, make_conninfo(dsn, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
    finally:
        server.close()
        await asyncio.gather(*proxy.clients)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


def _beginning(text: bytes) -> str:
    return " ".join(text.rstrip(b"\0").decode().split())[:LETTERS]
