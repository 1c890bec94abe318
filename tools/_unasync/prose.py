"""The prose pass: docstrings and comments, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tools._unasync.rules import Prose
from tools._unasync.source import Source

_LEFT_OVER = re.compile(r"\b(?:async|await|asyncio|Async[A-Z]\w*)\b")


def convert(source: Source, table: Sequence[Prose]) -> str:
    """Return the module's text with the table applied to its docstrings and comments."""
    targets = {prose.source: prose.target for prose in table}
    pattern = _pattern(table)
    text = source.text
    for start, end in reversed(source.prose):
        converted = pattern.sub(lambda match: targets[match.group()], text[start:end])
        text = text[:start] + converted + text[end:]
    return text


def used(source: Source, table: Sequence[Prose]) -> set[str]:
    """Return the sources of the rules that apply somewhere in the module."""
    pattern = _pattern(table)
    return {found for start, end in source.prose for found in pattern.findall(source.text[start:end])}


def left_over(source: Source, table: Sequence[Prose]) -> Iterator[tuple[int, str]]:
    """Yield line and word wherever prose speaks of asyncio and no rule covers it."""
    pattern = _pattern(table)
    for start, end in source.prose:
        uncovered = pattern.sub(lambda match: " " * len(match.group()), source.text[start:end])
        for match in _LEFT_OVER.finditer(uncovered):
            yield source.text.count("\n", 0, start + match.start()) + 1, match.group()


def _pattern(table: Iterable[Prose]) -> re.Pattern[str]:
    """Match any source, the longest first: one pass, so no rule sees what another one wrote."""
    sources = sorted((prose.source for prose in table), key=len, reverse=True)
    return re.compile("|".join(map(_whole_words, sources)) or "(?!)")


def _whole_words(source: str) -> str:
    left = r"\b" if re.match(r"\w", source) else ""
    right = r"\b" if re.search(r"\w$", source) else ""
    return left + re.escape(source) + right
