"""Commands that are imported when they are run: the list of all of them, and the help about it, need none of them."""

from __future__ import annotations

from importlib import import_module

import click


class Announced(click.Command):
    """Stands for a command until it is run: it has its name and the first sentence of its help text.

    Args:
        name: The name of the command, and of the variable in the module.
        module: The module.
        help: The first sentence of the help text of the command.
    """

    def __init__(self, name: str, module: str, help: str) -> None:
        super().__init__(name, help=help)
        self.module = module

    def load(self) -> click.Command:
        """Import the command."""
        found: click.Command = getattr(import_module(self.module), self.name or "")
        return found


class LazyGroup(click.Group):
    """Lists commands in the order in which they were added, and imports an announced one when it is about to run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        """The names, in that order."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that a command line is about, itself: to run it, or to complete its options."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Announced) else command, rest
