"""What --help and a missing word say. Imports typer only."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand


class Grouped(TyperCommand):
    """A verb whose options stand in groups, those of their own heading before the others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As it stands there; an error knows of which verb it is."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            vars(error)["ctx"] = ctx
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then a section a heading."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            heading = "Arguments" if parameter.param_type_name == "argument" else "Options"
            heading = getattr(parameter, "rich_help_panel", None) or heading
            if (record := parameter.get_help_record(ctx)) is not None:
                groups.setdefault(heading, []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def explained(error: typer.TyperException) -> str:
    """A mistake of the command line in one line; of a word that is missing, what to give."""
    told = " ".join(error.format_message().split())
    verb, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    given = getattr(error, "option_name", None)  # without the word that goes with it
    if verb is not None and given is not None:
        parameter = next((p for p in verb.command.params if given in p.opts), None)
    if verb is None or parameter is None or (given is None and not told.startswith("Missing")):
        return told
    name = "" if parameter.param_type_name == "argument" else f"{parameter.opts[0]} "
    words = verb.command_path.partition(" ")[2]
    return f"{words}: give {name}{parameter.metavar}: {parameter.help}"
