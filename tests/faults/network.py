"""A network that fails, between workers and the server: it cuts, swallows and holds up what passes.

It knows which statement passes (wire.py), so that a fault can be had at any of them, before the server gets it or
before the client gets the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
import time
from typing import Self

from attrs import define, frozen
from psycopg import conninfo
from tests.faults.wire import Catalog, Speech

from pgwerk._sql import Names


class Kind(enum.Enum):
    """What happens to a connection."""

    RESET = "reset"
    """Both ends are told that it is gone."""
    HALF_OPEN = "half-open"
    """Whatever is sent vanishes, and neither end is told."""
    STALL = "stalled"
    """Nothing passes for a while, and then everything does."""


class Side(enum.Enum):
    """Where a statement is overtaken by a fault."""

    REQUEST = "at the request of"
    """The server does not get it, or late."""
    ANSWER = "at the answer of"
    """The server executes it, and the client does not get to know, or late."""
    AFTERWARDS = "right after"
    """The client has got the answer; what it hits is the connection over which that came."""


@frozen
class Fault:
    """A fault at the next statement of some kind.

    Attributes:
        statement: The name of the statement.
        kind: What happens.
        side: Where it happens.
        secs: How long a stall lasts; after how many seconds both ends of a half-open connection get to know, as they
            do when the machine in between forgets about it. None is never.
        least: The least number of bytes of an answer: with rows in it, say.
    """

    statement: str
    kind: Kind
    side: Side
    secs: float | None = None
    least: int = 0

    def __str__(self) -> str:
        return f"{self.kind.value} {self.side.value} {self.statement}"


@define
class _Armed:
    fault: Fault
    happened: asyncio.Event
    at: float = 0.0
    is_taken: bool = False


class Network:
    """The way to a server, with faults to order.

    Args:
        dsn: The server; what goes through it is not encrypted.
        names: The names of pgwerk's tables.

    Attributes:
        seen: The names of the statements that have passed.
    """

    def __init__(self, dsn: str, names: Names) -> None:
        self.seen: set[str] = set()
        self._behind = dsn
        self._catalog = Catalog(names)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._armed: _Armed | None = None
        self._heard: list[tuple[str, float]] = []
        self._news = asyncio.Event()

    @property
    def dsn(self) -> str:
        """The way through it."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return conninfo.make_conninfo(
            self._behind, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
        )

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        while self._links:
            for link in list(self._links):
                link.reset()
            await asyncio.sleep(0.001)

    async def hit(self, fault: Fault, secs: float) -> float | None:
        """Wait for a fault to happen at the next opportunity.

        Args:
            fault: The fault.
            secs: How long to wait for that.

        Returns:
            When it happened, by the monotonic clock; None when no such statement has passed.
        """
        armed = self._armed = _Armed(fault, asyncio.Event())
        try:
            async with asyncio.timeout(secs):
                await armed.happened.wait()
        except TimeoutError:
            return None
        finally:
            self._armed = None
        return armed.at

    async def heard(self, statement: str, since: float, secs: float) -> float | None:
        """When such a statement passed for the first time after some moment; None when none does within some time.

        What is said over a half-open connection is heard by nobody.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(secs):
                while True:
                    for said, at in self._heard:
                        if said == statement and at > since:
                            return at
                    self._news.clear()
                    await self._news.wait()
        return None

    def strike(self, statements: list[str]) -> _Armed | None:
        """What is to happen to these statements, if anything is."""
        self.seen.update(statements)
        self._heard += [(statement, time.monotonic()) for statement in statements]
        self._news.set()
        armed = self._armed
        if armed is None or armed.is_taken or armed.fault.statement not in statements:
            return None
        armed.is_taken = True
        return armed

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        link = _Link(self, Speech(self._catalog), client_writer)
        self._links.add(link)
        try:
            await link.carry(client_reader, *await self._connect())
        finally:
            link.reset()
            self._links.discard(link)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = conninfo.conninfo_to_dict(self._behind)
        host, port = str(parts.get("host", "localhost")), parts.get("port", 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, int(str(port)))


class _Link:
    """One connection through the network."""

    def __init__(self, network: Network, speech: Speech, client: asyncio.StreamWriter) -> None:
        self._network = network
        self._speech = speech
        self._client = client
        self._server: asyncio.StreamWriter | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._is_silent = False
        self._at_answer: _Armed | None = None
        self._timers: list[asyncio.TimerHandle] = []

    async def carry(
        self, client: asyncio.StreamReader, server: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = writer
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self._requests(client, writer), self._answers(server))

    def reset(self) -> None:
        """Tell both ends that the connection is gone: with RST, not with an orderly end."""
        self._is_silent = True
        for timer in self._timers:
            timer.cancel()
        for writer in (self._client, self._server):
            if writer is not None:
                with contextlib.suppress(OSError):
                    end = writer.get_extra_info("socket")
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        self._open.set()

    async def _requests(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            armed = None if self._is_silent else self._network.strike(self._speech.hear(data))
            if armed is not None and armed.fault.side is Side.REQUEST:
                self._happen(armed)
            else:
                self._at_answer = self._at_answer or armed
            await self._pass(data, server)
        await self._end(server)

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            armed, self._at_answer = self._at_answer, None
            if armed is not None and len(data) < armed.fault.least:
                # There will be another one.
                armed.is_taken = False
                armed = None
            is_after = armed is not None and armed.fault.side is Side.AFTERWARDS
            if armed is not None and not is_after:
                self._happen(armed)
            await self._pass(data, self._client)
            if armed is not None and is_after:
                self._happen(armed)
        await self._end(self._client)

    def _happen(self, armed: _Armed) -> None:
        armed.at = time.monotonic()
        armed.happened.set()
        self._suffer(armed.fault)

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        if not self._is_silent:
            writer.write(data)
            await writer.drain()

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        """One end has closed the connection: the other one is told, unless the network keeps that to itself, too."""
        await self._open.wait()
        if not self._is_silent:
            writer.close()

    def _suffer(self, fault: Fault) -> None:
        loop = asyncio.get_running_loop()
        if fault.kind is Kind.RESET:
            self.reset()
        elif fault.kind is Kind.HALF_OPEN:
            self._is_silent = True
            if fault.secs is not None:
                self._timers.append(loop.call_later(fault.secs, self.reset))
        elif fault.secs is not None:
            self._open.clear()
            self._timers.append(loop.call_later(fault.secs, self._open.set))
