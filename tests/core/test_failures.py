"""How a failure is written down, and the one line of it that a `JobError` ends with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgwerk._core.failures import LONGEST, describe, exception_line


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def plain() -> None:
    raise ValueError("no luck")


def without_message() -> None:
    raise ValueError


def several_lines() -> None:
    raise ValueError("no luck\nDETAIL: none at all\n  indented: too\n\n")


def with_notes() -> None:
    error = ValueError("no luck")
    error.add_note("seen on a Monday\nin May")
    raise error


def caused() -> None:
    try:
        plain()
    except ValueError as error:
        raise KeyError("k") from error


def in_a_handler() -> None:
    try:
        several_lines()
    except ValueError:
        raise KeyError("k")  # noqa: B904 - the chain is what is tested


def group() -> None:
    raise ExceptionGroup("several", [ValueError("a\nb"), ExceptionGroup("inner", [TypeError("c")])])


def group_of_several_lines() -> None:
    error = ExceptionGroup("several\nof them", [ValueError("a")])
    error.add_note("a note")
    raise error


def caused_by_a_group() -> None:
    try:
        group()
    except ExceptionGroup as error:
        raise KeyError("k") from error


def group_caused() -> None:
    try:
        plain()
    except ValueError as error:
        raise ExceptionGroup("several", [TypeError("c")]) from error


def bad_syntax() -> None:
    compile("a b\n", "module.py", "exec")


def unprintable() -> None:
    raise Unprintable


def with_a_traceback_as_message() -> None:
    raise ValueError("remote:\nTraceback (most recent call last):\n  File x\nTypeError: over there")


def long_message() -> None:
    raise ValueError("first\n" + "and so on\n" * LONGEST)


FAR_AWAY = compile(
    "def one(n): return two(n - 1)\ndef two(n): return one(n - 1) if n > 0 else 1 / 0\n", "folder/" * 100, "exec"
)


def deep() -> None:
    """Many frames that differ, so that none is left out as a repetition, and each with a long line."""
    names: dict[str, Callable[[int], float]] = {}
    exec(FAR_AWAY, names)  # noqa: S102 - only so can a file have such a name
    names["one"](300)


def long_chain(length: int = 300) -> None:
    try:
        if length:
            long_chain(length - 1)
        plain()
    except ValueError as error:
        raise ValueError(f"level {length}") from error


LINES: dict[Callable[[], None], str] = {
    plain: "ValueError: no luck",
    without_message: "ValueError",
    several_lines: "ValueError: no luck",
    with_notes: "ValueError: no luck",
    caused: "KeyError: 'k'",
    in_a_handler: "KeyError: 'k'",
    group: "ExceptionGroup: several (2 sub-exceptions)",
    group_of_several_lines: "ExceptionGroup: several",
    caused_by_a_group: "KeyError: 'k'",
    group_caused: "ExceptionGroup: several (1 sub-exception)",
    bad_syntax: "SyntaxError: invalid syntax",
    unprintable: f"{__name__}.Unprintable: <exception str() failed>",
    with_a_traceback_as_message: "ValueError: remote:",
    long_message: "ValueError: first",
    deep: "ZeroDivisionError: division by zero",
    long_chain: "ValueError: level 300",
}
"""What a function raises, and the line that names it."""


@pytest.mark.parametrize("func", LINES, ids=lambda func: func.__name__)
def test_exception_line(func: Callable[[], None]) -> None:
    """Whatever the shape of a traceback is, the line that names the exception itself is found in it."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any type
        func()
    assert LINES[func] == exception_line(describe(caught.value))


@pytest.mark.parametrize("text", ["", "\n", "Traceback (most recent call last):", "  indented", "a\nb\n\n"])
def test_text_that_is_no_traceback(text: str) -> None:
    """Of any other text it is the last line."""
    assert text.rstrip().split("\n")[-1] == exception_line(text)


@pytest.mark.parametrize("func", [long_message, deep, long_chain], ids=lambda func: func.__name__)
def test_long_traceback_is_cut(func: Callable[[], None]) -> None:
    """A traceback that is very long loses its middle, and fits."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any type
        func()
    text = describe(caught.value)
    assert "characters left out ..." in text
    assert len(text) < LONGEST + 100
