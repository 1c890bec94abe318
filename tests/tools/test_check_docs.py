"""tools/check_docs.py: what it finds in documents, and what it leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tools import check_docs

if TYPE_CHECKING:
    from pathlib import Path


def problems(root: Path, text: str) -> list[str]:
    """What is wrong with a README of this text."""
    (root / "README.md").write_text(text, encoding="utf-8")
    return list(check_docs.check(root / "README.md", root))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a document and another file."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.md").write_text(
        "# The guide\n\n## `run()`: *at last*\n\n## Twice\n\n## Twice\n\n<a id='here'></a>\n"
    )
    (tmp_path / "a file.txt").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    "link",
    [
        "[a](docs/guide.md)",
        "[a](docs/guide.md#the-guide)",
        "[a](docs/guide.md#run-at-last)",
        "[a](docs/guide.md#twice-1 'with a title')",
        "[a](docs/guide.md#here)",
        "[a](#a-heading)",
        "[a](docs)",
        "![a](a%20file.txt#L7)",
        "[a]: docs/guide.md",
        "[![a](docs/guide.md)](https://example.com/nowhere)",
        "<a href='docs/guide.md'>a</a>",
        "[a](mailto:somebody@example.com)",
        "`[a](nowhere.md)` and ``[a](`nowhere.md)``",
        "```text\n[a](nowhere.md)\n```",
    ],
)
def test_a_link_that_leads_somewhere_is_left_alone(root: Path, link: str) -> None:
    """Files, headings, anchors, other sites and what only looks like a link are fine."""
    assert [] == problems(root, f"# A heading\n\n{link}\n")


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("[a](docs/nowhere.md)", "docs/nowhere.md: there is no such file"),
        ("[a](docs/guide.md#nowhere)", "docs/guide.md#nowhere: there is no such heading"),
        ("[a](docs/guide.md#twice-2)", "docs/guide.md#twice-2: there is no such heading"),
        ("[a](#nowhere)", "#nowhere: there is no such heading"),
        ("[a](../elsewhere.md)", "../elsewhere.md: leads out of the repository"),
        ("![a](nowhere.png)", "nowhere.png: there is no such file"),
        ("[![a](nowhere.png)](docs)", "nowhere.png: there is no such file"),
        ("[a]: nowhere.md", "nowhere.md: there is no such file"),
        ("<img width=3 src='nowhere.png'>", "nowhere.png: there is no such file"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(root: Path, link: str, problem: str) -> None:
    """The problem names the file, the line and the target."""
    assert [f"README.md:3: {problem}"] == problems(root, f"# A heading\n\n{link}\n")


def test_an_absolute_path_is_no_link_into_the_repository(root: Path) -> None:
    """It would lead to the root of whatever site shows the document."""
    assert "begins with a slash" in problems(root, "[a](/docs/guide.md)")[0]


@pytest.mark.parametrize(
    "example",
    [
        "```python\nimport pgwerk\n\nawait werk.connect()\n```",
        "  ```py\n  async with werk:\n      ...\n  ```",
        "```python\n>>> 1 +\\\n... 1\n2\n```",
        "~~~python\na = '''\n```\n'''\n~~~",
        "```toml\nnot python\n```",
        "```\nnot python\n```",
    ],
)
def test_an_example_that_compiles_is_left_alone(root: Path, example: str) -> None:
    """`await` outside of a function is fine, and so is every other language."""
    assert [] == problems(root, f"Text\n\n{example}\n")


@pytest.mark.parametrize(
    ("example", "line"),
    [
        ("```python\na = 1\nb = = 2\n```", 5),
        ("- a list\n\n  ```python\n  a = 1\n  b = = 2\n  ```", 7),
        ("```python\n>>> a = 1\n>>> b = = 2\n```", 5),
    ],
)
def test_an_example_that_does_not_compile_is_found(root: Path, example: str, line: int) -> None:
    """The problem has the line of the document, not of the example."""
    expected = [f"README.md:{line}: the example does not compile: invalid syntax"]
    assert expected == problems(root, f"Text\n\n{example}\n")


def test_a_block_without_an_end_is_found(root: Path) -> None:
    """All that follows it would be shown as code."""
    assert "README.md:1: the block that begins here is never closed" in problems(root, "```text\nand so on\n")


def test_the_exit_code_tells(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All documents are looked at, those in docs as well; problems are printed and make it 1."""
    (root / "README.md").write_text("fine")
    assert 0 == check_docs.main(root)
    (root / "docs" / "more.md").write_text("[a](nowhere.md)")
    assert 1 == check_docs.main(root)
    assert "docs/more.md:1: nowhere.md: there is no such file" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_no_success(root: Path) -> None:
    """A slip of the pen must not look like documents without a problem."""
    assert 1 == check_docs.main(root / "nowhere")
