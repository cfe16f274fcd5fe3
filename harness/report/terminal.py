"""The verdict as tables on a terminal (rich); plain text where stdout is not one."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.record.schema import Record
from harness.report import words
from harness.text import clean
from harness.verdict.verdict import Verdict
from harness.workloads.reference.limits import RUNGS


def print_verdict(record: Record, verdict: Verdict, folder: str, console: Console) -> None:
    """Everything a reader needs first: warnings, ladder, times, divergences, the one sentence."""

    def say(text: str, style: str = "") -> None:
        console.print(Text(clean(text), style=style), soft_wrap=True)

    say(words.headline(record))
    for warning in words.warnings(record):
        say(f"!! {warning}", "bold yellow")
    # Rungs down, labels across: four labels then fit into 80 columns.
    ladder = zip(*words.ladder_rows(verdict), strict=True)
    first, *rest = (
        [name, *cells] for name, cells in zip(["", "status", *RUNGS], ladder, strict=True)
    )
    print_table(console, first, rest, "value nearest its limit")
    times = words.time_rows(record, verdict)
    if times:
        title = words.time_title(record)
        _across(console, ["", "numbers", *words.STEP_TIME_HEADER], times, title)
        ratios = words.ratio_rows(record, verdict)
        print_table(console, list(words.RATIO_HEADER), ratios, "steps against the control arm's")
    print_table(console, list(words.TRAINING_HEADER), words.training_rows(record), "free training")
    tests = words.equivalence_rows(verdict) if len(record.plan.seeds) > 1 else []
    print_table(console, list(words.EQUIVALENCE_HEADER), tests, "equivalence over seeds, paired")
    if record.cases:
        say(words.screening(record))
    for line in words.explanations(verdict):
        say(line)
    colour = words.COLOURS[verdict.verdict]
    say(
        f"{words.MARKS[verdict.verdict]} {verdict.verdict.upper()}: {verdict.summary}",
        f"bold {colour}",
    )
    say(f"record: {folder}")


def _across(console: Console, names: list[str], rows: list[list[str]], title: str) -> None:
    """A row a label, drawn as a column a label: four then fit into 80 columns."""
    first, *rest = ([name, *cells] for name, *cells in zip(names, *rows, strict=True))
    print_table(console, first, rest, title)


def print_table(console: Console, header: list[str], rows: list[list[str]], title: str) -> None:
    """A table of texts; nothing where there is no row. Verdicts have their colours."""
    if not rows:
        return
    table = Table(
        title=title,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in header:
        table.add_column(Text(clean(name)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(value), style=_style(value)) for value in row))
    console.print(table)


def _style(value: str) -> str:
    for verdict, mark in words.MARKS.items():
        if value.startswith(mark) and verdict in words.COLOURS:
            return words.COLOURS[verdict]
    return ""
