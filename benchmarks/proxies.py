"""A proxy that counts the statements which clients send to a server: by what they say, whatever the server can tell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psycopg
from psycopg.conninfo import make_conninfo

COUNTED = (b"Q", b"E")
"""The messages that have the server execute something: a simple query, and the execution of a prepared one."""


class CountingProxy:
    """Passes everything on, and counts.

    Args:
        host: The server's host, or the folder of its socket.
        port: Its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self.count = 0
        self._host = host
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        if self._host.startswith("/"):
            path = f"{self._host}/.s.PGSQL.{self._port}"
            server_reader, server_writer = await asyncio.open_unix_connection(path)
        else:
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            answering = asyncio.ensure_future(_pass_on(server_reader, writer))
            try:
                await self._count(reader, server_writer)
            finally:
                server_writer.close()
                await answering

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What begins a session has no type; each message after that has one, and all of them have a length.
        kind = b""
        while True:
            length = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(length) - 4)
            writer.write(kind + length + body)
            await writer.drain()
            self.count += kind in COUNTED
            kind = await reader.readexactly(1)


@contextlib.asynccontextmanager
async def counting_proxy(dsn: str) -> AsyncIterator[tuple[CountingProxy, str]]:
    """A proxy before the server, and the DSN that leads through it."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        proxy = CountingProxy(connection.info.host, connection.info.port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield proxy, make_conninfo(dsn, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
    finally:
        server.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
    writer.close()
