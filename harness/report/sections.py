"""What a report is, whatever draws it: a word, a sentence, and a list of sections. Plain data.

A section is words, pictures and one table, and may hold other sections. `terminal`, `markdown` and
`page` each draw any list of them. Texts stand here as they were measured or named: whoever draws
them makes them harmless. Imports nothing that draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from harness.report.figure import Plot
from harness.text import short

Form = Literal["terminal", "markdown", "page"]
# How a page shows a section's table, or its pictures, where that is not the usual way.
Look = Literal[
    "", "apart", "chips", "column", "facts", "files", "images", "map", "matrix", "pair", "ranked",
    "where", "window", "windows",
]  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """A cell of a table with more to it than its text.

    `tone`: a verdict, whose colours it has, or another class of the page's style; `link`: an
    address; `spoken`: what only those hear who cannot see the cell.
    """

    text: str
    tone: str = ""
    link: str = ""
    spoken: str = ""


# What a cell holds: a number is written in two digits, what is not known as a dash.
Value = str | int | float | Cell | None
Columns = Mapping[str, Callable[[T], Value]]


@dataclass(frozen=True)
class Image:
    """An image of the data set on a page: `source` is its address, "" where it cannot be shown.

    `caption`: the same in words; `facts`: names and values below it.
    """

    source: str
    caption: str
    number: str
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class HeatMap:
    """A tensor as a picture whose `source` is its address. `shape`: its rows and columns of dots.

    `worst`: where the largest lies, from the left and from above, in per cent.
    """

    title: str
    source: str
    caption: str
    shape: tuple[int, int]
    worst: tuple[float, float]


@dataclass(frozen=True)
class Scatter:
    """Points in a square of 100 x 100, drawn without a script, around its middle.

    `points`: an SVG path; `fit`: a line through the middle, x1, y1, x2, y2; `across`, `up`: what
    the ends of the axes say.
    """

    title: str
    points: str
    fit: tuple[float, float, float, float]
    across: tuple[str, str]
    up: tuple[str, str]
    caption: str


@dataclass(frozen=True)
class Section:
    """One matter: a note, pictures, sentences, a table, and the sections inside, in this order.

    `title`: a heading, or the table's own title; `about`: what its figures are, where there is
    room for it. `header`, `rows`: the table, the first cell of each row its name. `figures`: False
    where what looks like a number is a name, such as a version. `across`: a row is a label, and a
    column where there is little room. `folded`: shown when asked for, where a reader can ask.
    `id`: of a page's own section, of [a-z0-9-].
    """

    title: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[Value]] = ()
    about: str = ""
    id: str = ""
    note: str = ""
    pictures: Sequence[Plot | Image | HeatMap | Scatter] = ()
    lines: Sequence[str] = ()
    inside: Sequence[Section] = ()
    figures: bool = True
    across: bool = False
    folded: bool = False
    look: Look = ""

    def __bool__(self) -> bool:
        """Whether it holds anything beside its title."""
        return bool(self.note or self.pictures or self.lines or self.rows or any(self.inside))

    @property
    def caption(self) -> str:
        """Of its table: title and what the figures are."""
        return f"{self.title}: {self.about}" if self.title and self.about else self.title

    @property
    def texts(self) -> list[list[str]]:
        """The rows as plain texts."""
        return [[plain(cell) for cell in row] for row in self.rows]

    def turned(self) -> Section:
        """With a column a row: four labels then fit into 80 columns."""
        header, *rows = zip(self.header, *self.rows, strict=True)
        return replace(self, header=[plain(name) for name in header], rows=rows)


@dataclass(frozen=True)
class Report:
    """What was found, and the sections that show it.

    `mark`, `word`, `sentence`: the verdict, the sentence without a full stop; `tone`: the verdict
    whose colours the word has. `headline`: what was run, in lines; `warnings`: what must be said
    loudly; `top`: sections before the first heading; `end`: lines after all else. `title`: of a
    browser's window.
    """

    word: str
    sentence: str = ""
    mark: str = ""
    tone: str = ""
    headline: Sequence[str] = ()
    warnings: Sequence[str] = ()
    top: Sequence[Section] = ()
    sections: Sequence[Section] = ()
    end: Sequence[str] = ()
    title: str = ""

    def walk(self) -> Iterator[Section]:
        """Every section, those inside others after them."""

        def below(sections: Iterable[Section]) -> Iterator[Section]:
            for section in sections:
                yield section
                yield from below(section.inside)

        return below((*self.top, *self.sections))


def plain(cell: Value) -> str:
    """A cell's text."""
    if isinstance(cell, float) or cell is None:
        return short(cell)
    return cell.text if isinstance(cell, Cell) else str(cell)


def by_columns(columns: Columns[T], items: Iterable[T]) -> list[list[Value]]:
    """A row an item: what each column makes of it. The header is the columns' names."""
    return [[column(item) for column in columns.values()] for item in items]
