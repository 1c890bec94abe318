"""Compare the two `_compat.py`: both flavours must find the same names behind the seam."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from tools._unasync.rules import BUILT_IN

_CLASS = "a class"
_VALUE = "a value"
_DECORATORS_THAT_COUNT = frozenset({"classmethod", "property", "staticmethod"})


def compare_twins(async_file: str, sync_file: str) -> list[str]:
    """Return how the public names and signatures of two modules, given as text, differ.

    Annotations and whether a function is a coroutine function do not count, and `__aenter__` is
    taken for `__enter__`. A name bound by assignment or import is there or not, no more is known.
    """
    return list(_differences(public_api(async_file), public_api(sync_file)))


def public_api(text: str) -> dict[str, str]:
    """Map the public names of a module to signatures, a method under `Class.method`.

    Public is what `__all__` lists; without it, whatever has no leading underscore. An imported
    name counts when `__all__` has it or when it says `import x as x`.
    """
    body = ast.parse(text).body
    exported = _exported(body)
    return {
        name: signature
        for name, signature in _members(body, exported or frozenset())
        if (name.partition(".")[0] in exported if exported else _is_public(name))
    }


def _differences(asyncio_side: dict[str, str], blocking_side: dict[str, str]) -> Iterator[str]:
    for name in sorted(asyncio_side.keys() | blocking_side.keys()):
        owner = name.rpartition(".")[0]
        if owner and not asyncio_side.get(owner) == blocking_side.get(owner) == _CLASS:
            continue  # one side lacks the class, which is said already, or only binds its name
        match asyncio_side.get(name), blocking_side.get(name):
            case None, _:
                yield f"{name}: missing in the asyncio twin"
            case _, None:
                yield f"{name}: missing in the blocking twin"
            case str(ours), str(theirs) if ours != theirs and _VALUE not in (ours, theirs):
                yield f"{name}: {ours} in the asyncio twin, {theirs} in the blocking twin"


def _members(body: Iterable[ast.stmt], exported: frozenset[str]) -> Iterator[tuple[str, str]]:
    for statement in _flattened(body):
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield BUILT_IN.get(name, name), _signature(statement)
            case ast.ClassDef(name=name):
                yield name, _CLASS
                for member, signature in _members(statement.body, frozenset()):
                    if _is_public(member):
                        yield f"{name}.{member}", signature
            case ast.Assign(targets=targets):
                for target in targets:
                    if isinstance(target, ast.Name):
                        yield target.id, _VALUE
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, _VALUE
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                for alias in aliases:
                    bound = alias.asname or alias.name
                    if alias.asname == alias.name or bound in exported:
                        yield bound, _VALUE


def _flattened(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements, those below `if` and `try` included."""
    for statement in body:
        match statement:
            case ast.If():
                yield from _flattened([*statement.body, *statement.orelse])
            case ast.Try():
                handled = [inner for handler in statement.handlers for inner in handler.body]
                yield from _flattened([*statement.body, *handled, *statement.orelse])
            case _:
                yield statement


def _exported(body: Iterable[ast.stmt]) -> frozenset[str]:
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return frozenset(ast.literal_eval(value))
    return frozenset()


def _is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the parameters without their annotations, behind the decorators that callers see."""
    arguments = function.args
    for argument in [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        *filter(None, [arguments.vararg, arguments.kwarg]),
    ]:
        argument.annotation = None
    decorators = {ast.unparse(decorator) for decorator in function.decorator_list}
    seen = [f"@{name} " for name in sorted(decorators & _DECORATORS_THAT_COUNT)]
    return "".join(seen) + f"({ast.unparse(arguments)})"
