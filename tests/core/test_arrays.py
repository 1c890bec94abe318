"""Arrays as text: what the server reads is what was written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwerk._core.arrays import EMPTY, lists, moments, nested, plain, quoted, scalar

TEXTS = st.lists(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))


def read(dsn: str, written: str, kind: str) -> Any:
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT %s::{kind}[]".encode(), [written]).fetchall()[0][0]


def test_texts_come_back(dsn: str) -> None:
    """Any texts, quotes, backslashes, commas, braces and the word NULL among them, are read as they were."""
    with psycopg.connect(dsn) as connection:

        @settings(max_examples=200, deadline=None)
        @given(TEXTS)
        def check(values: list[str | None]) -> None:
            (found,) = connection.execute("SELECT %s::text[]", [quoted(values)]).fetchall()[0]
            assert (values if any(value is not None for value in values) else []) == found

        check()
    tricky = ['"', "\\", ",", "{}", "NULL", "null", "", " ", "a\nb", '\\"']
    assert tricky == read(dsn, quoted(tricky), "text")
    assert [*tricky, None] == read(dsn, quoted([*tricky, None]), "text")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, -3], "integer"),
        ([0.1, None, 1e16, 1e-9], "float8"),
        ([True, None, False], "boolean"),
        (["queued", None], "text"),
    ],
)
def test_plain_values_come_back(dsn: str, values: list[Any], kind: str) -> None:
    """Numbers and truth values are read as they were."""
    assert values == read(dsn, plain(values), kind)


def test_times_come_back(dsn: str) -> None:
    """Points in time are read as they were, whatever their zone."""
    values = [
        datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        None,
        datetime(1, 1, 3, tzinfo=timezone(timedelta(hours=5))),
    ]
    found = read(dsn, moments(values[:2]), "timestamptz")
    assert values[:2] == found
    assert "0001-01-03T00:00:00+05:00" in moments(values)


def test_columns_of_nothing_are_empty() -> None:
    """A column that holds nothing but None costs nothing."""
    assert [EMPTY] * 6 == [plain([]), plain([None, None]), quoted([]), quoted([None]), moments([]), moments([None])]


def test_nested_arrays(dsn: str) -> None:
    """An array within a column is a text of its own."""
    assert ["{1,2}", None] == read(dsn, quoted([nested([1, 2]), nested(None)]), "text")
    assert ["{1,2}", None] == read(dsn, lists([[1, 2], None]), "text")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ('a "quoted" {text}, \\ NULL', "text"),
        (-5, "integer"),
        (0.1, "float8"),
        (datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "timestamptz"),
        ([1, -2], "integer[]"),
        (None, "text"),
    ],
)
def test_single_values_come_back(dsn: str, value: Any, kind: str) -> None:
    """A single value is read as it was."""
    with psycopg.connect(dsn) as connection:
        assert [(value,)] == connection.execute(f"SELECT %s::{kind}".encode(), [scalar(value)]).fetchall()
