"""`werk doctor`: what is wrong or slow, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from pgwerk.cli.commands import Command, json_option
from pgwerk.cli.failures import NOT_DONE
from pgwerk.cli.output import console, print_json
from pgwerk.cli.session import Session
from pgwerk.cli.shown import in_one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from pgwerk import Finding

STYLES = {"problem": "bold red", "warning": "yellow", "ok": "green"}
"""From the worst to the best; the order in which they are shown."""

INDENT = 9


@click.command(cls=Command, example="werk doctor shop.jobs:werk --strict")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@json_option
def doctor(session: Session, *, strict: bool, as_json: bool) -> int:
    """Look for what is wrong or slow, and say what to do about it.

    Changes nothing. Exits with 1 if there are problems, and with 0 if there are only warnings.
    """
    findings: list[Finding] = session.run(session.app.diagnose)
    if as_json:
        print_json(findings)
    else:
        show(findings, console())
    return verdict(findings, strict=strict)


def verdict(findings: Sequence[Finding], *, strict: bool) -> int:
    """The exit code."""
    bad = {"problem", "warning"} if strict else {"problem"}
    return NOT_DONE if any(finding.severity in bad for finding in findings) else 0


def show(findings: Sequence[Finding], out: Console) -> None:
    """Print the findings, the worst first, and how many there are."""
    for severity, style in STYLES.items():
        for finding in findings:
            if finding.severity == severity:
                for line in lines(finding, out, style):
                    out.print(line)
    counts: Counter[str] = Counter(finding.severity for finding in findings)
    out.print()
    out.print(", ".join(_count(severity, counts[severity]) for severity in STYLES))


def lines(finding: Finding, out: Console, style: str) -> Iterator[Text]:
    """The lines of one finding; what does not fit goes on below the text, not below the word in front."""
    from rich.text import Text

    word = finding.severity.upper() if finding.severity == "problem" else finding.severity
    front = Text(f"{word:<{INDENT}}", style)
    paragraphs = [f"{finding.check}: {finding.summary}", *([f"do: {finding.advice}"] if finding.advice else [])]
    for paragraph in paragraphs:
        for line in Text(in_one_line(paragraph)).wrap(out, max(out.width - INDENT, 20)):
            line.rstrip()
            yield Text.assemble(front, line)
            front = Text(" " * INDENT)


def _count(severity: str, count: int) -> str:
    return f"{count} ok" if severity == "ok" else f"{count} {severity}{'' if count == 1 else 's'}"
