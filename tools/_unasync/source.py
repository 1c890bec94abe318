"""A module as text, parsed once for all who look at it."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

Span = tuple[int, int]


@dataclass(frozen=True)
class Source:
    """One hand-written module. What is derived from its text is computed on first use."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the tree; an f-string is among them, what is inside of it is not."""
        return list(_outside_fstrings(self.tree))

    @cached_property
    def docstrings(self) -> list[ast.Constant]:
        """Every string that stands alone as a statement, those below attributes included."""
        statements = [node.value for node in self.nodes if isinstance(node, ast.Expr)]
        return [value for value in statements if isinstance(value, ast.Constant) and isinstance(value.value, str)]

    @cached_property
    def prose(self) -> list[Span]:
        """Where in the text the docstrings and comments are, in their order."""
        comments = (
            (self._offset(*token.start), self._offset(*token.end))
            for token in tokenize.generate_tokens(io.StringIO(self.text).readline)
            if token.type == tokenize.COMMENT
        )
        return sorted([*map(self._span, self.docstrings), *comments])

    def segment(self, node: ast.expr) -> str:
        """Return what a node looks like in the text."""
        start, end = self._span(node)
        return self.text[start:end]

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        for line in self.lines:
            starts.append(starts[-1] + len(line) + 1)
        return starts

    def _offset(self, line: int, column: int) -> int:
        return self._line_starts[line - 1] + column

    def _span(self, node: ast.expr) -> Span:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._offset(node.lineno, self._characters(node.lineno, node.col_offset)),
            self._offset(node.end_lineno, self._characters(node.end_lineno, node.end_col_offset)),
        )

    def _characters(self, line: int, column: int) -> int:
        """Turn a column from `ast`, which counts UTF-8 bytes, into one that counts characters."""
        return len(self.lines[line - 1].encode()[:column].decode())


def _outside_fstrings(tree: ast.AST) -> Iterator[ast.AST]:
    nodes = [tree]
    for node in nodes:
        yield node
        if not isinstance(node, ast.JoinedStr):
            nodes.extend(ast.iter_child_nodes(node))
