"""The job of the demo. A handler is a function in a module of its own, so that workers can import it by its name."""

from __future__ import annotations

import ast
import sysconfig
import tokenize
from pathlib import Path
from typing import Any

STDLIB = Path(sysconfig.get_path("stdlib"))


def source_files() -> list[str]:
    """The source files of Python's standard library, relative to its folder."""
    files = (path.relative_to(STDLIB) for path in STDLIB.rglob("*.py"))
    return sorted(file.as_posix() for file in files if not {"site-packages", "dist-packages"} & set(file.parts))


def analyse(file: str) -> dict[str, Any]:
    """Parse one file and count. What this returns is stored with the job and comes back as it was, tuples included."""
    try:
        with tokenize.open(STDLIB / file) as stream:  # in the encoding that the file itself declares
            source = stream.read()
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError) as error:
        # Some files of Python's own tests are broken on purpose. To try again would not mend them: it is a result.
        return {"file": file, "error": str(error)}
    functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    lengths = [((node.end_lineno or node.lineno) - node.lineno + 1, node.name) for node in functions]
    return {
        "file": file,
        "lines": len(source.splitlines()),
        "functions": len(functions),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "largest": max(lengths, default=None),
    }
