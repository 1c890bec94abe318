"""What a command works with: the application, and a way to call it, whatever its flavour."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pgwerk import SchemaVersionMismatch, WerkError
from pgwerk.cli.apps import Target
from pgwerk.cli.failures import Failure

if TYPE_CHECKING:
    import asyncio

    from pgwerk.cli.apps import App


class Session:
    """One command's use of an application.

    The application is the user's own object, with its hooks and its settings. What a coroutine method returns is run to
    its end on one event loop, so a command reads the same for both flavours: `session.call(session.app.get_job, id)`.

    Args:
        target: How the application was given.
        app: The application, where somebody else has loaded it: a framework's own command, for instance.
    """

    def __init__(self, target: Target, app: App | None = None) -> None:
        self.target = target
        self._app = app
        self._runner: asyncio.Runner | None = None
        self._is_connected = False

    @property
    def app(self) -> App:
        """The application, loaded when it is first asked for."""
        if self._app is None:
            self._app = self.target.load()
        return self._app

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of the application, and wait for what it returns.

        The tables are looked at first: a command that was not asked to migrate does not, whatever the application would
        do by itself.

        Raises:
            SchemaVersionMismatch: The tables are not those of this release.
        """
        if not self._is_connected:
            status = self.run(self.app.migration_status)
            if not status.is_current:
                raise SchemaVersionMismatch(status.version, status.latest, status.advice)
            self.connect()
        return self.run(method, *args, **kwargs)

    def run(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method that does not need the tables to be there."""
        result = method(*args, **kwargs)
        if not inspect.iscoroutine(result):
            return result
        if self._runner is None:
            self._runner = _runner()
        return self._runner.run(result)

    def connect(self) -> None:
        """Connect the application as it does by itself: with its start-up hooks, and migrating if it does that.

        Raises:
            SchemaVersionMismatch: The tables are not those of this release.
            Failure: A start-up hook has failed.
            psycopg.Error: The database cannot be reached.
        """
        import psycopg  # the application has done so

        try:
            self.run(self.app.connect)
        except (psycopg.Error, WerkError):
            raise
        except Exception as error:  # an application's hooks may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise Failure(f"the application cannot be started: {reason} (--debug shows where)") from error
        self._is_connected = True

    def disconnect(self) -> None:
        """Disconnect the application, if it was connected here: its shutdown hooks run."""
        if self._is_connected:
            self._is_connected = False
            self.run(self.app.disconnect)

    def give_up(self) -> None:
        """End what is left of a call that was interrupted, and may be waiting for an answer that never comes."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.disconnect()
        finally:
            if self._runner is not None:
                self._runner.close()


def _runner() -> asyncio.Runner:
    import asyncio

    # psycopg needs add_reader(), which Windows' default loop does not have.
    return asyncio.Runner(loop_factory=asyncio.SelectorEventLoop if sys.platform == "win32" else None)
