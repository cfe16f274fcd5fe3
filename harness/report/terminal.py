"""A report on a terminal (rich); plain text where stdout is not one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report import words
from harness.report.sections import Cell, Report, Section, Value, plain
from harness.text import clean


def show(report: Report, console: Console) -> None:
    """Warnings, sections, and the one sentence last, where a reader looks."""

    def say(lines: Iterable[str], style: str = "") -> None:
        for line in lines:
            console.print(Text(clean(line), style=style), soft_wrap=True)

    def draw(section: Section) -> None:
        if section.inside:
            say([section.title], "bold")
        say([section.note] if section.note else [])
        table = section.turned() if section.across and section.rows else section
        print_table(console, table.header, table.rows, table.title)
        say(section.lines)
        for inner in filter(None, section.inside):
            draw(inner)

    say(report.headline)
    say((f"!! {warning}" for warning in report.warnings), "bold yellow")
    for section in filter(None, (*report.top, *report.sections)):
        draw(section)
    if report.sentence:
        verdict = f"{report.mark} {report.word.upper()}:" if report.word else report.mark
        colour = words.COLOURS.get(report.tone, "")
        say([f"{verdict} {report.sentence}".strip()], f"bold {colour}".strip())
    say(report.end)


def print_table(
    console: Console, header: Sequence[str], rows: Iterable[Sequence[Value]], title: str = ""
) -> None:
    """A table of texts; nothing where there is no row. Verdicts have their colours."""
    table = Table(
        title=Text(clean(title)) if title else None,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in header:
        table.add_column(Text(clean(name)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(plain(cell)), style=_style(cell)) for cell in row))
    if table.row_count:
        console.print(table)


def _style(cell: Value) -> str:
    if isinstance(cell, Cell) and cell.tone in words.COLOURS:
        return words.COLOURS[cell.tone]
    value = plain(cell)
    verdicts = (verdict for verdict, mark in words.MARKS.items() if value.startswith(mark))
    return words.COLOURS.get(next(verdicts, ""), "")
