"""Connecting once: the first operation of a process migrates and runs the start-up hooks, and all others wait for it.

A start-up hook may itself enqueue, at a moment when the client is not connected yet. It is let through because it runs
in the context that connects: a context variable says so, to the tasks that a hook starts as well, until that is done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from pgwerk._async import _compat, forking

F = TypeVar("F", bound=Callable[..., Any])


class Lifecycle:
    """Whether a client is connected, and what happens when that changes.

    Args:
        prepare: Sees to the tables; told whether it may migrate.
    """

    def __init__(self, prepare: Callable[[bool], _compat.Eventually[None]]) -> None:
        self._prepare = prepare
        self._startup: list[Callable[..., Any]] = []
        self._shutdown: list[Callable[..., Any]] = []
        self._connected = False
        self._lock = _compat.Lock()
        # Which attempt to connect is under way, and which one the current context is part of.
        self._attempt: object | None = None
        self._own_attempt: ContextVar[object | None] = ContextVar("pgwerk_connecting", default=None)
        self._disconnecting = False
        forking.register(self)

    def on_startup(self, func: F) -> F:
        """Register a hook to run on connect."""
        _compat.check_hook(func, "a start-up hook")
        self._startup.append(func)
        return func

    def on_shutdown(self, func: F) -> F:
        """Register a hook to run on disconnect."""
        _compat.check_hook(func, "a shutdown hook")
        self._shutdown.append(func)
        return func

    @property
    def is_connected(self) -> bool:
        """Whether the client is connected, so that there is nothing to do."""
        return self._connected

    async def connect(self, *, may_migrate: bool = True) -> None:
        """Connect, unless that has been done.

        When it fails, nothing has happened, and the next operation tries again.
        """
        if self._connected or (self._attempt is not None and self._own_attempt.get() is self._attempt):
            return
        async with self._lock:
            if self.is_connected:  # by another one, while this one waited
                return
            self._attempt = object()
            token = self._own_attempt.set(self._attempt)
            try:
                await self._prepare(may_migrate)
                for hook in self._startup:
                    await _compat.call(hook)
                self._connected = True
            finally:
                self._own_attempt.reset(token)
                self._attempt = None

    async def disconnect(self, close: Callable[[], _compat.Eventually[None]]) -> None:
        """Run the shutdown hooks, then close, unless that has been done.

        Every hook runs, and `close` too, whatever the ones before it raise.
        """
        async with self._lock:
            if not self._connected or self._disconnecting:
                return
            # Still connected: a hook may enqueue.
            self._disconnecting = True
            hooks = list(self._shutdown)
        errors: list[Exception] = []
        for hook in hooks:
            try:
                await _compat.call(hook)
            except Exception as error:  # the hooks after it must still run; it is raised below
                errors.append(error)
        self._connected = self._disconnecting = False
        await close()
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("several shutdown hooks failed", errors)

    def after_fork(self) -> None:
        """A child connects anew."""
        self._lock = _compat.Lock()
        self._connected = self._disconnecting = False
        self._attempt = None
