"""What comes from the database does nothing to the terminal, and fits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.cells import cell_len

from pgwerk import JobStatus, Undecodable
from pgwerk.cli.output import jsonable, print_json
from pgwerk.cli.shown import MAX_CHARS, MAX_LINES, block, cut, in_one_line, last_line, pretty, shorten, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\0b\x07\x7f\x9b", "a\\x00b\\x07\\x7f\\x9b"),
        ("over\rwritten", "over\\rwritten"),
        ("dos\r\nline", "dos\nline"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("\u202eright to left", "\\u202eright to left"),
        ("half \ud800", "half \\ud800"),
        ("größer 漢字 👍", "größer 漢字 👍"),
        ("[red]brackets[/red]", "[red]brackets[/red]"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    """What a terminal would obey is written out; all else stays as it is."""
    assert shown == visible(text)


def test_one_line() -> None:
    """White space becomes a space; of a traceback the last line counts."""
    assert "a b \\x1b" == in_one_line(" a\n\tb \x1b")
    assert "ValueError: no" == last_line("Traceback\n  File\nValueError: no\n\n")
    assert "" == last_line(None) == last_line(" \n")


@pytest.mark.parametrize("text", ["short", "much too long for it", "漢字漢字漢字漢字", "", "👍" * 9])
@pytest.mark.parametrize("width", [0, 1, 2, 7])
def test_cut(text: str, width: int) -> None:
    """A text that is cut takes up no more columns than it may, from either end."""
    for keep_end in (True, False):
        shown = cut(text, width, keep_end=keep_end)
        assert cell_len(shown) <= width
        assert shown == text or width == 0 or "…" in shown
    assert "…long" == cut("too long", 5, keep_end=True)
    assert "too …" == cut("too long", 5)


@pytest.mark.parametrize("text", ["x", "\N{COMBINING ACUTE ACCENT}"])
def test_cut_of_a_text_of_megabytes(text: str) -> None:
    """It does not matter how much is cut off: a step for each character would take hours."""
    for keep_end in (False, True):
        assert len(cut(text * 10_000_000, 80, keep_end=keep_end)) <= 322


def test_long_texts_are_cut_with_a_note() -> None:
    """A long text shows its beginning, a traceback its end, and how much is missing; or all, if asked for."""
    lines = "\n".join(f"line {number}" for number in range(MAX_LINES + 10))
    start, missing = shorten(lines, full=False)
    assert (True, True) == (start.startswith("line 0\n"), missing.endswith("more: --full shows all)"))
    end, missing = shorten(lines, full=False, keep_end=True)
    assert end.endswith(f"line {MAX_LINES + 9}")
    assert missing.startswith(f"({len(lines) - len(end):,} characters before this")
    assert (lines, "") == shorten(lines, full=True)
    assert ("short\n", "") == shorten("short\n", full=False)
    assert MAX_CHARS + 100 > len(block("x" * 10 * MAX_CHARS, full=False).plain)


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "ü\0\ud800"], "b": {}},
        {"not": float("nan"), "infinite": float("-inf")},
        {1: {2, 3}, (4, 5): b"bytes", JobStatus.Active: JobStatus.Failed},
        [object, Undecodable("{", "broken")],
    ],
)
def test_any_value_is_json(value: Any) -> None:
    """Whatever a serializer gives can be printed, as JSON that every program reads."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(json.dumps(jsonable(value)), parse_constant=refuse)
    assert pretty(value)


def test_undecodable_values_say_why() -> None:
    """What the serializer could not read is shown as it is stored."""
    assert "cannot be read: wrong key\nstored is: {1}" == pretty(Undecodable("{1}", "wrong key"))


def test_json_is_harmless_too(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON that is printed holds no control characters, and still says the same."""
    print_json({"a": "\x1b\x7f\x9bü"})
    printed = capsys.readouterr().out
    assert '{\n  "a": "\\u001b\\u007f\\u009bü"\n}\n' == printed
    assert {"a": "\x1b\x7f\x9bü"} == json.loads(printed)
