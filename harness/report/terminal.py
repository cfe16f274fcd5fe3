"""A report on a terminal (rich); plain text where stdout is not one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report import words
from harness.report.sections import Cell, Report, Section, Value, plain
from harness.text import clean

# Of these a mark in a sentence has its colour.
MARKED = ("agree", "disagree", "inconclusive")
# A longer word, such as a path, may be folded.
LONGEST = 40


def show(report: Report, console: Console) -> None:
    """Warnings, sections, and the one sentence last, where a reader looks."""

    def say(lines: Iterable[str], style: str = "") -> None:
        for line in lines:
            told = Text(clean(line), style=style)
            for verdict in () if style else MARKED:
                told.highlight_regex(_mark(verdict), words.COLOURS[verdict])
            console.print(told, soft_wrap=True)

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
    """A table of texts; nothing where there is no row. Verdicts have their colours.

    Where not every word of it is whole in the width there is, it is several, with the first column
    in each.
    """
    texts = [[Text(clean(plain(cell)), style=_style(cell)) for cell in row] for row in rows]
    columns = [*zip(map(Text, map(clean, header)), *texts, strict=True)] if texts else []
    least = [*map(_least, columns)]
    while columns:
        fitting = (n for n in range(3, len(columns) + 1) if sum(least[:n]) + 2 * n <= console.width)
        many = max(fitting, default=2)
        console.print(_table(columns[:many], least[:many], title, console.width))
        title = ""
        columns, least = ([*of[:1], *of[many:]] if of[many:] else [] for of in (columns, least))


def _least(column: Sequence[Text]) -> int:
    """The width of the longest word of a column; a mark and its figures are one."""
    words_of = ([cell.plain] if cell.style else cell.plain.split() for cell in column if cell.plain)
    longest = max((cell_len(word) for of_cell in words_of for word in of_cell), default=1)
    return min(longest, LONGEST)


def _table(
    columns: Sequence[Sequence[Text]], least: Sequence[int], title: str, width: int
) -> Table:
    table = Table(
        title=Text(title) if title else None,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    whole = [max(cell.cell_len for cell in column) for column in columns]
    room = max(0, width - sum(least) - 2 * len(columns))
    wanted = sum(whole) - sum(least)
    for (name, *_), low, high in zip(columns, least, whole, strict=True):
        more = high - low if wanted <= room else (high - low) * room // wanted
        table.add_column(name, overflow="fold", width=low + more)
    for row in zip(*(cells for _, *cells in columns), strict=True):
        table.add_row(*row)
    return table


def _mark(verdict: str) -> str:
    """A verdict's mark where it stands alone."""
    return rf"(?<!\S){re.escape(words.MARKS[verdict])}(?!\S)"


def _style(cell: Value) -> str:
    if isinstance(cell, Cell) and cell.tone in words.COLOURS:
        return words.COLOURS[cell.tone]
    value = plain(cell)
    verdicts = (verdict for verdict, mark in words.MARKS.items() if value.startswith(mark))
    return words.COLOURS.get(next(verdicts, ""), "")
