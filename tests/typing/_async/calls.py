"""What type checkers must say about calls: a type where it is asserted, an error where a line is marked.

Nothing here is run. mypy and pyright each report a mark of theirs that is on a line without the error it names.
"""

from __future__ import annotations

from typing import Any, assert_type

import psycopg
from tests.typing import handlers

from pgwerk import Enqueuer, Job, JobError, Retry, Werk


async def apply_gives_what_the_handler_returns(app: Werk) -> None:
    assert_type(await app.apply(handlers.add, 1, b=2), int)
    assert_type(await app.apply(handlers.plain_add, 1, b=2, timeout=5, _queue="high"), int)
    assert_type(await app.apply(handlers.greet, "you", poll_interval=0.1), str)
    assert_type(await app.apply(handlers.plain_greet, "you"), str)
    assert_type(await app.apply(handlers.find, "x"), bytes | None)
    assert_type(await app.apply(handlers.decorated, 1), list[int])
    assert_type(await app.apply(handlers.Mailer.send, "x"), bool)
    assert_type(await app.apply(handlers.Mailer.check, "x"), bool)
    assert_type(await app.apply("myapp.tasks.add", 1, b=2), Any)
    await app.apply(handlers.nothing)
    await app.apply(handlers.add, 1, timeout="5")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await app.apply(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def map_gives_a_list_of_that(app: Werk, some: bool) -> None:
    every = [{"a": 1}, {"a": 2}]
    assert_type(await app.map(handlers.add, every), list[int])
    assert_type(await app.map(handlers.plain_add, every, b=2, _priority=3), list[int])
    assert_type(await app.map(handlers.greet, ({"name": name} for name in "abc"), timeout=5), list[str])
    assert_type(await app.map(handlers.add, every, return_exceptions=True), list[int | JobError])
    assert_type(await app.map(handlers.plain_add, every, return_exceptions=some), list[int | JobError])
    assert_type(await app.map("myapp.tasks.add", every), list[Any])
    assert_type(await app.map("myapp.tasks.add", every, return_exceptions=True), list[Any])
    await app.map(handlers.add, [1, 2])  # type: ignore[list-item]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def enqueue_takes_any_arguments(app: Werk) -> None:
    assert_type(await app.enqueue(handlers.add, 1, b=2, _queue="high", _retry=Retry(max=3)), Job | None)
    assert_type(await app.enqueue("myapp.tasks.add", 1), Job | None)
    await app.enqueue(handlers.add, 1, _queue=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def only_with_a_key_there_may_be_no_job(app: Werk, key: str | None) -> None:
    assert_type(app.options(), Enqueuer[Job])
    assert_type(app.options(queue="high", retry=3, meta={"a": 1}, wait_timeout=5, poll_interval=0.1), Enqueuer[Job])
    assert_type(app.options(queue="high", key=None), Enqueuer[Job])
    assert_type(app.options(queue="high", key="k"), Enqueuer[Job | None])
    assert_type(app.options(queue="high", key=key), Enqueuer[Job | None])
    assert_type(app.options(queue="high").options(retry=3), Enqueuer[Job])
    assert_type(app.options(queue="high").options(key="k"), Enqueuer[Job | None])
    assert_type(app.options(queue="high").options(key=key), Enqueuer[Job | None])
    assert_type(app.options(key="k").options(retry=3), Enqueuer[Job | None])
    assert_type(app.options(key="k").options(key=None), Enqueuer[Job])
    assert_type(app.options(sync=True), Enqueuer[Job])
    assert_type(await app.options(sync=True).enqueue(handlers.add, 1), Job)
    assert_type(await app.options(key="k").enqueue(handlers.add, 1), Job | None)
    assert_type(await app.options(key="k").enqueue("myapp.tasks.add"), Job | None)
    may_be_none: Enqueuer[Job | None] = app.options()
    never_none: Enqueuer[Job] = app.options(key="k")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    assert [may_be_none, never_none]


async def options_are_checked(app: Werk, connection: psycopg.AsyncConnection, number: int) -> None:
    app.options(conn=connection, depends_on=["id"], on_success=handlers.add, delay=0.5)
    app.options(quee="high")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    app.options(_queue="high")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    app.options(queue=number)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.options(key=number)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    app.options(retry="3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.options("high")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    app.options().options(quee="high")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def arguments_are_those_of_the_handler(bound: Enqueuer[Job]) -> None:
    assert_type(await bound.enqueue(handlers.add, 1), Job)
    assert_type(await bound.enqueue(handlers.add, 1, b=2), Job)
    assert_type(await bound.enqueue(handlers.plain_add, a=1, b=2), Job)
    assert_type(await bound.enqueue(handlers.nothing), Job)
    assert_type(await bound.enqueue(handlers.anything, 1, "2", three=3), Job)
    assert_type(await bound.enqueue(handlers.same, 1), Job)
    assert_type(await bound.enqueue(handlers.decorated, number=1), Job)
    assert_type(await bound.enqueue(handlers.Mailer.send, "x"), Job)
    assert_type(await bound.enqueue(handlers.Mailer.check, "x"), Job)
    assert_type(await bound.enqueue(handlers.Mailer, "x"), Job)
    assert_type(await bound.enqueue("myapp.tasks.add", 1, "2", three=3), Job)
    await bound.enqueue(handlers.add)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await bound.enqueue(handlers.add, "1")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await bound.enqueue(handlers.add, 1, 2, 3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await bound.enqueue(handlers.add, 1, c=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await bound.enqueue(handlers.plain_add, a="1")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await bound.enqueue(handlers.nothing, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await bound.enqueue(handlers.decorated, "1")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await bound.enqueue(handlers.Mailer.check, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await bound.enqueue(handlers.add, 1, _queue="high")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def the_context_is_no_argument(bound: Enqueuer[Job]) -> None:
    assert_type(await bound.enqueue(handlers.greet, "you"), Job)
    assert_type(await bound.enqueue(handlers.greet, name="you", loud=True), Job)
    assert_type(await bound.enqueue(handlers.plain_greet, "you", loud=True), Job)
    assert_type(await bound.enqueue(handlers.only_context), Job)
    await bound.enqueue(handlers.greet)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await bound.enqueue(handlers.greet, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await bound.enqueue(handlers.plain_greet, "you", True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await bound.enqueue(handlers.only_context, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def names_of_options_belong_to_the_handler(bound: Enqueuer[Job]) -> None:
    assert_type(await bound.enqueue(handlers.clashing, queue="a", timeout=1, _key="k", func=True), Job)
    assert_type(await bound.apply(handlers.clashing, queue="a", timeout=1, _key="k", func=True), float)
    await bound.apply(handlers.add, 1, timeout=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def bound_apply_gives_what_the_handler_returns(bound: Enqueuer[Job | None]) -> None:
    assert_type(await bound.apply(handlers.add, 1), int)
    assert_type(await bound.apply(handlers.plain_add, 1, b=2), int)
    assert_type(await bound.apply(handlers.greet, "you", loud=True), str)
    assert_type(await bound.apply(handlers.plain_greet, "you"), str)
    assert_type(await bound.apply(handlers.only_context), str)
    assert_type(await bound.apply(handlers.find, "x"), bytes | None)
    assert_type(await bound.apply(handlers.decorated, 1), list[int])
    assert_type(await bound.apply(handlers.same, 1), int)
    assert_type(await bound.apply(handlers.anything, 1), Any)
    assert_type(await bound.apply(handlers.anything_in_a_thread, 1), Any)
    assert_type(await bound.apply("myapp.tasks.add", 1), Any)
    await bound.apply(handlers.nothing)
    await bound.apply(handlers.add, "1")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await bound.apply(handlers.greet, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await bound.apply(handlers.plain_greet)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def bound_map_gives_a_list_of_that(bound: Enqueuer[Job]) -> None:
    every = [{"a": 1}, {"a": 2}]
    assert_type(await bound.map(handlers.add, every), list[int])
    assert_type(await bound.map(handlers.plain_add, every), list[int])
    assert_type(await bound.map(handlers.greet, ({"name": name} for name in "abc")), list[str])
    assert_type(await bound.map(handlers.add, every, return_exceptions=True), list[int | JobError])
    assert_type(await bound.map(handlers.plain_add, every, return_exceptions=True), list[int | JobError])
    assert_type(await bound.map("myapp.tasks.add", every), list[Any])
    await bound.map(handlers.add, every, timeout=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
