"""An enqueuer: options that are given once, for many jobs, and calls that are checked against the handler's signature.

As the options are bound beforehand, every argument of a call belongs to the handler. A type checker can therefore hold
the call against the handler's own parameters, and a parameter of the handler may have any name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, TypeVar, Unpack, overload

from pgwerk._async.connections import Connection, Cursor, own_connection
from pgwerk._core.bound import POLL_INTERVAL, JobOptions, bind, bound_spec
from pgwerk._core.context import Context
from pgwerk._core.errors import JobError
from pgwerk._core.handlers import CoroutineHandler, P, R
from pgwerk._core.models import Handler, Job
from pgwerk._core.options import Preparation, each_kwargs, refuse_to_wait

if TYPE_CHECKING:
    from pgwerk._async.client import Werk

JobT_co = TypeVar("JobT_co", bound=Job | None, covariant=True)
"""What `enqueue` gives: a job, or None too when there is a key that may exist already."""


class Options(JobOptions, total=False):
    """What `options` takes, beside `key`."""

    conn: Connection | Cursor | None
    sync: bool
    wait_timeout: float | None
    poll_interval: float


class Enqueuer(Generic[JobT_co]):
    """Enqueues jobs with options of their own; `Werk.options` makes it.

    It never changes, so it can be kept and shared. Its methods pass all of their arguments to the handler, whatever
    their names are.
    """

    __slots__ = ("_app", "_options", "_preparation")

    def __init__(self, app: Werk, preparation: Preparation, options: Mapping[str, Any]) -> None:
        self._app = app
        self._preparation = preparation
        self._options = bind(options, preparation)
        if self._options.get("conn") is not None:
            own_connection(self._options["conn"], "conn")

    def __repr__(self) -> str:
        options = ", ".join([f"{name}={value!r}" for name, value in self._options.items()])
        return f"{self._app!r}.options({options})"

    @overload
    def options(self, **options: Unpack[Options]) -> Enqueuer[JobT_co]: ...
    @overload
    def options(self, *, key: None, **options: Unpack[Options]) -> Enqueuer[Job]: ...
    @overload
    def options(self, *, key: str | None, **options: Unpack[Options]) -> Enqueuer[Job | None]: ...
    def options(self, **options: Any) -> Enqueuer[Any]:
        """Make another enqueuer, with more options set, or set differently. This one stays as it is.

        Raises:
            TypeError, ValueError, SerializationError: As `Werk.options`.
        """
        return Enqueuer(self._app, self._preparation, {**self._options, **options})

    @overload
    async def enqueue(self, func: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> JobT_co: ...
    @overload
    async def enqueue(
        self, func: Callable[Concatenate[Context, P], Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> JobT_co: ...
    @overload
    async def enqueue(self, func: str, /, *args: Any, **kwargs: Any) -> JobT_co: ...
    async def enqueue(self, func: Handler, /, *args: Any, **kwargs: Any) -> Any:
        """Enqueue a job.

        Args:
            func: The handler: a module-level function, or its dotted path.
            args: Positional arguments for the handler, without the `Context`.
            kwargs: Keyword arguments for the handler.

        Returns:
            The job, or None if its key exists already.

        Raises:
            ValueError: The handler cannot be imported by a worker.
            SerializationError: An argument cannot be serialized.
            JobNotFound, WerkError, psycopg.Error: As `Werk.enqueue`.
        """
        spec = bound_spec(self._options, func, args, kwargs)
        return await self._app._enqueue(spec, conn=self._options.get("conn"), sync=self._options.get("sync", False))

    @overload
    async def apply(self, func: CoroutineHandler[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def apply(
        self, func: CoroutineHandler[Concatenate[Context, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def apply(self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def apply(self, func: Callable[Concatenate[Context, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def apply(self, func: str, /, *args: Any, **kwargs: Any) -> Any: ...
    async def apply(self, func: Handler, /, *args: Any, **kwargs: Any) -> Any:
        """Enqueue a job and wait for its result, with the patience of the options `wait_timeout` and `poll_interval`.

        Args:
            func: The handler.
            args: Positional arguments for the handler, without the `Context`.
            kwargs: Keyword arguments for the handler.

        Returns:
            What the handler returned.

        Raises:
            JobError: The job failed or was aborted.
            TimeoutError: It has not ended in time. It is not cancelled.
            ValueError: The job's key exists already, the options have a `conn`, or as `enqueue`.
            SerializationError, JobNotFound, psycopg.Error: As `Werk.apply`.
        """
        results = await self._run(func, [(args, kwargs)], return_exceptions=False)
        return results[0]

    @overload
    async def map(
        self,
        func: CoroutineHandler[..., R],
        /,
        iter_kwargs: Iterable[Mapping[str, Any]],
        *,
        return_exceptions: Literal[False] = False,
    ) -> list[R]: ...
    @overload
    async def map(
        self, func: CoroutineHandler[..., R], /, iter_kwargs: Iterable[Mapping[str, Any]], *, return_exceptions: bool
    ) -> list[R | JobError]: ...
    @overload
    async def map(
        self,
        func: Callable[..., R],
        /,
        iter_kwargs: Iterable[Mapping[str, Any]],
        *,
        return_exceptions: Literal[False] = False,
    ) -> list[R]: ...
    @overload
    async def map(
        self, func: Callable[..., R], /, iter_kwargs: Iterable[Mapping[str, Any]], *, return_exceptions: bool
    ) -> list[R | JobError]: ...
    @overload
    async def map(
        self, func: str, /, iter_kwargs: Iterable[Mapping[str, Any]], *, return_exceptions: bool = False
    ) -> list[Any]: ...
    async def map(
        self, func: Handler, /, iter_kwargs: Iterable[Mapping[str, Any]], *, return_exceptions: bool = False
    ) -> list[Any]:
        """Enqueue a job for each set of keyword arguments, and wait for all results, with the patience of the options.

        Args:
            func: The handler.
            iter_kwargs: Keyword arguments for the handler, one mapping for each job.
            return_exceptions: Whether a job that did not succeed gives a `JobError` in its place.

        Returns:
            What the handler returned, in the order of `iter_kwargs`.

        Raises:
            JobError: A job failed or was aborted, and `return_exceptions` is off. The others are left to finish.
            TimeoutError: They have not all ended in time. They are not cancelled.
            ValueError, SerializationError, JobNotFound, psycopg.Error: As `apply`.
        """
        calls = [((), kwargs) for kwargs in each_kwargs(iter_kwargs, any_name=True)]
        return await self._run(func, calls, return_exceptions=return_exceptions)

    async def _run(
        self, func: Handler, calls: Sequence[tuple[tuple[Any, ...], Mapping[str, Any]]], *, return_exceptions: bool
    ) -> list[Any]:
        refuse_to_wait(self._options, jobs=len(calls), prefix="")
        specs = [bound_spec(self._options, func, args, kwargs) for args, kwargs in calls]
        timeout = self._options.get("wait_timeout")
        poll_interval = self._options.get("poll_interval", POLL_INTERVAL)
        return await self._app._run(specs, timeout, poll_interval, return_exceptions=return_exceptions)
