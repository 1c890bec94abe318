"""How commands are declared: the application in front, options that all have, and errors of one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pgwerk.cli.apps import Target, looks_like_app
from pgwerk.cli.failures import DEBUG, USAGE, Failure
from pgwerk.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose first word may be the application: it is told by its colon from the words that follow.

    Args:
        words: The words that follow the application, as the usage shows them; empty if there are none.
        least: How many there have to be.
        most: How many there may be; None for any number.
        example: A command line that shows the use, for the end of the help text.
    """

    def __init__(
        self,
        name: str | None,
        *,
        example: str,
        words: str = "",
        least: int = 0,
        most: int | None = 0,
        **kwargs: Any,
    ) -> None:
        kwargs["epilog"] = f"Example: {example}"
        super().__init__(name, **kwargs)
        self.words = words
        self.least = least
        self.most = most
        self.params += [
            click.Argument(["words"], nargs=-1, metavar=" ".join(filter(None, ["[APP]", words]))),
            click.Option(["--dsn"], metavar="DSN", help="Connection string, in the place of APP. [env: PGWERK_DSN]"),
            click.Option(["--schema"], metavar="NAME", help="Schema of the tables. [env: PGWERK_SCHEMA]"),
            click.Option(["--prefix"], metavar="NAME", help="Prefix of the tables. [env: PGWERK_PREFIX]"),
            click.Option(
                ["--debug"],
                is_flag=True,
                is_eager=True,
                callback=_set_debug,
                expose_value=False,
                help="Show the traceback of an error.",
            ),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Tell the application from the other words."""
        rest = super().parse_args(ctx, args)
        if ctx.resilient_parsing:
            return rest
        params = ctx.params
        words = list(params.pop("words"))
        name = words.pop(0) if words and looks_like_app(words[0]) else None
        dsn, schema, prefix = (params.pop(option) for option in ("dsn", "schema", "prefix"))
        if self.most == 0 and words:
            raise Failure(f"{words[0]!r} is no application: APP is module:attribute", USAGE)
        if len(words) < self.least:
            ctx.fail(f"missing: {self.words}")
        if self.most is not None and len(words) > self.most:
            ctx.fail(f"one too many: {words[self.most]}")
        if ctx.obj is None or name is not None or dsn is not None:
            session = Session(Target.choose(name, dsn, schema, prefix))
        else:
            session = Session(Target(), app=ctx.obj)
        params["session"] = ctx.with_resource(session)
        if self.most != 0:
            params["words"] = tuple(words)
        return rest


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().meta[DEBUG] = True


def json_option(func: F) -> F:
    """Give a command the option `--json`, passed on as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(func)


def confirm_option(func: F) -> F:
    """Give a command the option `--yes`."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(func)
