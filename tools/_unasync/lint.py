"""The lint: refuse what would be converted wrong, and say what to write instead.

Each check is a generator over the nodes of a module. None looks inside an f-string but the one
that is about f-strings, because positions in there depend on the version of Python.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from tools._unasync import prose
from tools._unasync.rules import BUILT_IN, Rule, Tables, is_async_class
from tools._unasync.source import Source

_FOR_THE_SEAM = frozenset(
    {
        "Awaitable",
        "CancelledError",
        "Coroutine",
        "TaskGroup",
        "__await__",
        "anyio",
        "asyncio",
        "create_task",
        "ensure_future",
        "gather",
        "get_event_loop",
        "get_running_loop",
        "isawaitable",
        "iscoroutine",
        "iscoroutinefunction",
        "run_coroutine_threadsafe",
        "shield",
        "to_thread",
    }
)

_FORGOTTEN_BY_UNASYNC = {
    "aclose": "close",
    "aclosing": "closing",
    "aiter": "iter",
    "anext": "next",
    "asend": "send",
    "athrow": "throw",
}


#: unasync 0.6.0 takes the piece of an f-string between two fields for the keyword, if it reads so.
_BARE_KEYWORD = re.compile(r"""["'}](async|await)["'{]""")


class Problem(NamedTuple):
    """One finding. Sorts by line."""

    line: int
    text: str


class Identifier(NamedTuple):
    """A name in the code, and whether it is an attribute, a parameter or a keyword argument."""

    name: str
    line: int
    qualified: bool


def lint(source: Source, tables: Tables) -> list[Problem]:
    """Return all that must be written differently before the module can be converted."""
    try:
        problems = [
            *_awaits(source),
            *_names(source, tables),
            *_fstrings(source, tables),
            *_annotations(source),
            *_strings(source, tables),
            *_prose(source, tables),
        ]
    except SyntaxError as error:
        return [Problem(error.lineno or 1, f"syntax error: {error.msg}")]
    return sorted(set(problems))


def used_names(source: Source, tables: Tables) -> set[str]:
    """Return the sources of the rules that apply somewhere in the module."""
    identifiers = {found.name for found in _identifiers(source.nodes)}
    strings = {text for text, _ in _code_strings(source)}
    return tables.by_name.keys() & (identifiers | strings)


def _awaits(source: Source) -> Iterator[Problem]:
    for node in source.nodes:
        match node:
            case ast.Await(value=value, lineno=line, col_offset=column):
                if not isinstance(value, ast.Call):
                    yield Problem(line, "`await` of what is no call: await the call itself")
                behind = source.lines[line - 1].encode()[column + len("await") :]
                if not behind.startswith(b" "):
                    yield Problem(line, "unasync drops what follows `await`: put a space there")
            case (
                ast.Attribute(value=ast.Await(lineno=line))
                | ast.Subscript(value=ast.Await(lineno=line))
                | ast.Call(func=ast.Await(lineno=line))
            ):
                yield Problem(
                    line,
                    "`(await x)` with something behind it leaves stray parentheses: bind the result to a name first",
                )


def _names(source: Source, tables: Tables) -> Iterator[Problem]:
    for name, line, qualified in _identifiers(source.nodes):
        rule = tables.by_name.get(name)
        advice = _misplaced(rule, qualified) if rule else _unknown(name)
        if advice:
            yield Problem(line, f"`{name}`: {advice}")


def _misplaced(rule: Rule, qualified: bool) -> str | None:
    if qualified and rule.where == "names":
        return (
            "the rule for this name would hit an attribute, a parameter or a keyword argument "
            'too: rename this one, or say where="anywhere" in the rule'
        )
    return None


def _unknown(name: str) -> str | None:
    if name in BUILT_IN:
        return None
    if name in _FOR_THE_SEAM:
        return "belongs in _compat.py"
    if name in _FORGOTTEN_BY_UNASYNC:
        return f'needs a rule, Rule("{name}", "{_FORGOTTEN_BY_UNASYNC[name]}", ...)'
    if is_async_class(name):
        return f"needs a rule, or else it becomes Sync{name[len('Async') :]}"
    if "async" in name.lower():
        return "needs a rule or another name; if it cannot have one, it belongs in _compat.py"
    return None


def _fstrings(source: Source, tables: Tables) -> Iterator[Problem]:
    for node in source.nodes:
        if isinstance(node, ast.JoinedStr):
            unsafe = _unsafe_in_fstring(node, tables)
            for found in sorted({*unsafe, *_BARE_KEYWORD.findall(source.segment(node))}):
                yield Problem(
                    node.lineno,
                    f"`{found}` in an f-string is converted by some versions of Python and left "
                    "by others: bind the value to a name first",
                )


def _unsafe_in_fstring(fstring: ast.JoinedStr, tables: Tables) -> Iterator[str]:
    inside = [
        node for field in ast.walk(fstring) if isinstance(field, ast.FormattedValue) for node in ast.walk(field.value)
    ]
    for name, _, _ in _identifiers(inside):
        if tables.replaces(name) or _unknown(name):
            yield name
    for node in inside:
        match node:
            case ast.Await():
                yield "await"
            case ast.comprehension(is_async=1):
                yield "async"
            case ast.Constant(value=str(text)) if tables.replaces(text):
                yield text


def _annotations(source: Source) -> Iterator[Problem]:
    for node in source.nodes:
        for quoted in _quoted(_annotation_of(node)):
            yield Problem(
                quoted.lineno,
                "a quoted annotation comes out wrong: import annotations from __future__ and drop the quotes",
            )


def _annotation_of(node: ast.AST) -> ast.expr | None:
    match node:
        case ast.arg(annotation=annotation) | ast.AnnAssign(annotation=annotation):
            return annotation
        case ast.FunctionDef(returns=annotation) | ast.AsyncFunctionDef(returns=annotation):
            return annotation
    return None


def _quoted(annotation: ast.AST | None) -> Iterator[ast.Constant]:
    match annotation:
        case None:
            pass
        case ast.Constant(value=str()):
            yield annotation
        case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal")):
            pass
        case ast.Subscript(
            value=ast.Name(id="Annotated") | ast.Attribute(attr="Annotated"),
            slice=ast.Tuple(elts=[annotated, *_]),
        ):
            yield from _quoted(annotated)
        case _:
            for child in ast.iter_child_nodes(annotation):
                yield from _quoted(child)


def _strings(source: Source, tables: Tables) -> Iterator[Problem]:
    for text, node in _code_strings(source):
        if re.search(r"\s", text):
            continue  # a sentence, which is no business of a converter of names
        for word in filter(tables.replaces, re.findall(r"\w+", text)):
            if text != word:
                advice = "is not: build it from the object, or move it to _compat.py"
            elif word not in tables.by_name:
                advice = "is too, by unasync: say in a rule by what"
            elif source.segment(node)[1:-1] != word:
                advice = "is too, but only in plain quotes: no prefix, in one piece"
            else:
                continue
            yield Problem(node.lineno, f'`{word}` is replaced, the string "{text}" {advice}')


def _prose(source: Source, tables: Tables) -> Iterator[Problem]:
    for line, word in prose.left_over(source, tables.prose):
        yield Problem(
            line,
            f"the blocking flavour's docs would say `{word}`: add a line to PROSE, or "
            "word it for both (a phrase is not found across a line break)",
        )


def _code_strings(source: Source) -> Iterator[tuple[str, ast.Constant]]:
    """Yield the string literals that are not docstrings."""
    docstrings = {id(node) for node in source.docstrings}
    for node in source.nodes:
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield text, node


def _identifiers(nodes: list[ast.AST]) -> Iterator[Identifier]:
    """Yield every name: outside of constants, each string that a node holds is one."""
    for node in nodes:
        if isinstance(node, ast.Constant):
            continue
        line = _line_of(node)
        for field, value in ast.iter_fields(node):
            qualified = field in ("attr", "arg", "kwd_attrs")
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str):
                    for part in name.split("."):
                        yield Identifier(part, line, qualified)


def _line_of(node: ast.AST) -> int:
    """Return the line of the name that a node holds; of an attribute that is its last line."""
    line = node.end_lineno if isinstance(node, ast.Attribute) else getattr(node, "lineno", 1)
    assert isinstance(line, int)
    return line
