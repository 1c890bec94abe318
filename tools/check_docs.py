"""Check the documents: every link leads somewhere, every Python example compiles.

    python tools/check_docs.py [FOLDER]

Looked at are the Markdown files at the top of the folder (by default this repository) and all of
those below its `docs`. Links to other sites are left alone. What GitHub makes of a heading is what
a link to it has to say.
"""

from __future__ import annotations

import ast
import doctest
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

FENCE = re.compile(r"^\s*(?P<fence>`{3,}|~{3,})\s*(?P<language>\w*)")
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(?P<text>.*?)\s*#*\s*$")
TARGETS = (
    re.compile(r"\]\(\s*<?(?P<target>[^)>\s]+)"),  # [text](target), ![text](target)
    re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(?P<target>[^>\s]+)"),  # [name]: target
    re.compile(r"""<(?:a|img)\b[^>]*?\b(?:href|src)=["'](?P<target>[^"']+)"""),
)
ANCHOR = re.compile(r"""<\w+\b[^>]*?\b(?:id|name)=["']([^"']+)""")


@dataclass(frozen=True)
class Example:
    """A fenced block of code, with the line of its first line."""

    language: str
    line: int
    code: str
    closed: bool


@dataclass(frozen=True)
class Document:
    """A Markdown file, taken apart.

    Attributes:
        prose: The lines outside of code, with their numbers; code within a line is blanked.
        headings: The headings as they stand, code within the line included.
        examples: The fenced blocks.
    """

    prose: list[tuple[int, str]]
    headings: list[str]
    examples: list[Example]


def main(root: Path) -> int:
    """Print what is wrong, one line each; the exit code is 1 if there is anything."""
    if not root.is_dir():
        print(f"{root} is no folder")
        return 1
    paths = sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])
    found = [problem for path in paths for problem in check(path, root)]
    for problem in found:
        print(problem)
    print(f"{len(paths)} documents, {len(found)} problems")
    return 1 if found else 0


def check(path: Path, root: Path) -> Iterator[str]:
    """What is wrong in one document, as `file:line: problem`."""
    document = parse(path.read_text(encoding="utf-8"))
    name = path.relative_to(root).as_posix()
    for line, text in document.prose:
        for target in targets(text):
            if problem := check_link(target, path, root):
                yield f"{name}:{line}: {target}: {problem}"
    for example in document.examples:
        if not example.closed:
            yield f"{name}:{example.line - 1}: the block that begins here is never closed"
        if example.language.lower() in ("python", "py", "pycon"):
            yield from (f"{name}:{line}: {text}" for line, text in check_python(example))


def parse(text: str) -> Document:
    """Take a Markdown text apart."""
    document = Document([], [], [])
    fence, language, start, code = "", "", 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if fence:
            if match and match["fence"].startswith(fence) and not match["language"]:
                document.examples.append(Example(language, start, "\n".join(code), closed=True))
                fence = ""
            else:
                code.append(line)
        elif match:
            fence, language, start, code = match["fence"], match["language"], number + 1, []
        else:
            if heading := HEADING.match(line):
                document.headings.append(heading["text"])
            document.prose.append((number, CODE.sub("", line)))
    if fence:
        document.examples.append(Example(language, start, "\n".join(code), closed=False))
    return document


def targets(line: str) -> Iterator[str]:
    """What a line of prose links to."""
    for pattern in TARGETS:
        yield from (match["target"] for match in pattern.finditer(line))


def check_link(target: str, path: Path, root: Path) -> str | None:
    """What is wrong with a link in the document at `path`, if anything."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    if parts.path.startswith("/"):
        return "begins with a slash, which is the root of a site, not of this repository"
    there = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
    if not there.is_relative_to(root.resolve()):
        return "leads out of the repository"
    if not there.exists():
        return "there is no such file"
    if parts.fragment and there.suffix == ".md":
        text = there.read_text(encoding="utf-8")
        if unquote(parts.fragment) not in anchors(text):
            return "there is no such heading"
    return None


def anchors(text: str) -> set[str]:
    """The anchors of a Markdown text: its headings', numbered when they repeat, and its HTML's."""
    document = parse(text)
    found: set[str] = set()
    for heading in document.headings:
        slug = unique = slug_of(heading)
        number = 0
        while unique in found:
            number += 1
            unique = f"{slug}-{number}"
        found.add(unique)
    return found | {name for _, line in document.prose for name in ANCHOR.findall(line)}


def slug_of(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")


def check_python(example: Example) -> Iterator[tuple[int, str]]:
    """Whether an example compiles; `await` may stand outside of a function."""
    for line, code in statements(example):
        try:
            compile(code, "<example>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError as error:
            yield line + (error.lineno or 1) - 1, f"the example does not compile: {error.msg}"


def statements(example: Example) -> Iterator[tuple[int, str]]:
    """The code of an example with its first line, prompt by prompt if it has prompts."""
    code = textwrap.dedent(example.code)
    if code.lstrip().startswith(">>>"):
        for part in doctest.DocTestParser().get_examples(code):
            yield example.line + part.lineno, part.source
    else:
        yield example.line, code


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else here))
