from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from pgwerk._core.logs import configure_logging, current_job, reset_logging

LOGGER = logging.getLogger("pgwerk")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    reset_logging()


@attrs.define
class Printed:
    """All that was printed on standard error so far."""

    capsys: pytest.CaptureFixture[str]
    text: str = ""

    def getvalue(self) -> str:
        self.text += self.capsys.readouterr().err
        return self.text


@pytest.fixture
def err(capsys: pytest.CaptureFixture[str]) -> Printed:
    return Printed(capsys)


def entries(printed: Printed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.getvalue().splitlines()]


def test_text(err: Printed) -> None:
    """By default messages from INFO on are printed as text, without colour where no terminal is."""
    configure_logging()
    LOGGER.debug("hidden")
    logging.getLogger("pgwerk.worker").info("claimed %d jobs", 3)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO     pgwerk\.worker: claimed 3 jobs\n",
        err.getvalue(),
    )


def test_a_second_call_replaces_the_first(err: Printed) -> None:
    """However often logging is configured, each record is printed once, the way asked for last."""
    configure_logging("DEBUG")
    configure_logging(level=logging.WARNING, format="json")
    LOGGER.info("hidden")
    LOGGER.warning("shown")
    assert [entry["message"] for entry in entries(err)] == ["shown"]
    assert len(LOGGER.handlers) == 1


def test_nothing_else_is_touched(err: Printed) -> None:
    """The root logger and other libraries' are left as they are, and get no record twice."""
    root = logging.getLogger()
    before = (root.level, root.handlers[:], logging.getLogRecordFactory())
    configure_logging("DEBUG")
    assert (root.level, root.handlers, logging.getLogRecordFactory()) == before
    logging.getLogger("another").warning("elsewhere")
    seen = io.StringIO()
    handler = logging.StreamHandler(seen)
    root.addHandler(handler)
    try:
        LOGGER.warning("once")
    finally:
        root.removeHandler(handler)
    assert "elsewhere" not in err.getvalue()
    assert (err.getvalue().count("once"), seen.getvalue()) == (1, "")


def test_reset() -> None:
    """After a reset records go to the application's own handlers again; a second one is harmless."""
    own = logging.NullHandler()
    LOGGER.addHandler(own)
    try:
        configure_logging("DEBUG")
        reset_logging()
        reset_logging()
        assert LOGGER.handlers == [own]
        assert (LOGGER.level, LOGGER.propagate) == (logging.NOTSET, True)
    finally:
        LOGGER.removeHandler(own)


def test_the_job_is_named(err: Printed) -> None:
    """Records made while a handler runs carry its job's id, in text and in JSON."""
    configure_logging()
    token = current_job.set("job-1")
    try:
        LOGGER.info("heartbeat")
        LOGGER.info("job-1 is running")
        configure_logging(fmt="%(job_id)s|%(message)s")
        LOGGER.info("custom")
        configure_logging(format="json")
        LOGGER.info("json")
        LOGGER.info("other", extra={"job_id": "job-2"})
    finally:
        current_job.reset(token)
    LOGGER.info("none")
    lines = err.getvalue().splitlines()
    assert lines[0].endswith(": heartbeat (job job-1)")
    assert lines[1].endswith(": job-1 is running")
    assert lines[2] == "job-1|custom"
    assert [json.loads(line).get("job_id") for line in lines[3:]] == ["job-1", "job-2", None]


def test_json(err: Printed) -> None:
    """In JSON each record is one object on one line, with its exception and its extra fields."""
    configure_logging(format="json")
    try:
        raise KeyError("lost\nlines")
    except KeyError:
        LOGGER.exception("failed:\n%s", "x", extra={"queue": "mail", "attempt": 2, "level": "mine"})
    (entry,) = entries(err)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry.pop("exception").startswith("Traceback (most recent call last):\n")
    assert entry == {
        "level": "ERROR",
        "logger": "pgwerk",
        "message": "failed:\nx",
        "queue": "mail",
        "attempt": 2,
    }


def test_json_of_a_record_from_another_process(err: Printed) -> None:
    """A record whose traceback is text already, because it comes from a child process, shows that."""
    configure_logging(format="json")
    record = logging.LogRecord("pgwerk", logging.ERROR, "", 1, "failed", None, None)
    record.exc_text = "Traceback: of the child"
    LOGGER.handle(record)
    (entry,) = entries(err)
    assert "Traceback: of the child" == entry["exception"]


def test_json_of_anything(err: Printed) -> None:
    """Values that JSON does not have, lone surrogates and line breaks included, break no line."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    configure_logging(format="json")
    loop: list[Any] = []
    loop.append(loop)
    fields = {"a": object, "b": float("nan"), "c": loop, "d": "\ud800\u2028", "e": (1,)}
    LOGGER.info("x", extra=fields, stack_info=True)
    LOGGER.info("y", extra={"broken": Broken()})
    first, second = entries(err)
    assert (first["a"], first["b"], first["c"]) == ("<class 'object'>", "nan", "[[...]]")
    assert (first["d"], first["e"]) == ("\ud800\u2028", [1])
    assert "test_json_of_anything" in first["stack"]
    assert "Broken" in second["broken"]


def test_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels are coloured on a terminal, unless `NO_COLOR` is set; the caller has the last word."""
    cases: list[tuple[bool, bool | None, str, bool]] = [
        (True, None, "", True),
        (True, None, "1", False),
        (True, False, "", False),
        (False, None, "", False),
        (False, True, "1", True),
    ]
    for terminal, color, no_color, colored in cases:
        stream = Terminal() if terminal else io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("NO_COLOR", no_color)
        configure_logging(color=color)
        LOGGER.warning("x")
        assert ("\033[33mWARNING \033[0m" in stream.getvalue()) is colored


def test_other_handlers_see_the_record_as_it_was(err: Printed) -> None:
    """Colour and padding are not left behind in the record."""
    seen: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    configure_logging(color=True)
    keep = Keep()
    LOGGER.addHandler(keep)
    try:
        LOGGER.info("x %s", "y")
    finally:
        LOGGER.removeHandler(keep)
    assert "\033[32mINFO" in err.getvalue()
    assert (seen[0].levelname, seen[0].msg, seen[0].args) == ("INFO", "x %s", ("y",))


def test_the_stream_is_looked_up_for_each_record(err: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that replaces `sys.stderr` later on gets the records in the new one."""
    configure_logging()
    later = io.StringIO()
    monkeypatch.setattr(sys, "stderr", later)
    LOGGER.info("x")
    assert (err.getvalue(), "x" in later.getvalue()) == ("", True)


def test_no_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without a standard error stream (a Windows service) can log into the void."""
    monkeypatch.setattr(sys, "stderr", None)
    configure_logging()
    LOGGER.info("x")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"level": "LOUD"}, "level must be a number from 0 or one of CRITICAL, .*, not 'LOUD'"),
        ({"level": "warn1ng"}, r"not 'warn1ng'\. Did you mean 'WARNING'\?"),
        ({"level": -1}, "level must be"),
        ({"level": True}, "level must be"),
        ({"level": 1.5}, "level must be"),
        ({"format": "xml"}, "format must be 'text' or 'json', not 'xml'"),
        ({"format": "jsn"}, r"Did you mean 'json'\?"),
        ({"format": "json", "fmt": "%(message)s"}, "fmt is for format='text'"),
        ({"fmt": "%(mesage)s"}, r"fmt is not a usable format: '%\(mesage\)s'"),
        ({"fmt": "plain"}, "fmt is not a usable format"),
        ({"fmt": "%(message)d"}, "fmt is not a usable format"),
        ({"fmt": 3}, "fmt is not a usable format"),
    ],
)
def test_nonsense_is_refused(arguments: dict[str, Any], said: str) -> None:
    """Arguments that make no sense are refused by name, and nothing is configured."""
    with pytest.raises(ValueError, match=said):
        configure_logging(**arguments)
    assert LOGGER.propagate


@pytest.mark.parametrize("level", ["debug", "DEBUG", 10])
def test_levels(level: int | str) -> None:
    """A level is a number or a name in any case."""
    configure_logging(level)
    assert LOGGER.level == logging.DEBUG


def test_what_a_terminal_would_obey(err: Printed) -> None:
    """What is logged may come from anybody: in text, control characters are shown as what they are."""
    configure_logging(fmt="%(message)s")
    try:
        raise ValueError("\x1b[31mred")
    except ValueError:
        LOGGER.exception("job failed: %s", "\x1b]0;title\x07\u202e\x9b")
    first, *_, last = err.getvalue().splitlines()
    assert "job failed: \\x1b]0;title\\x07\\u202e\\x9b" == first
    assert "ValueError: \\x1b[31mred" == last
