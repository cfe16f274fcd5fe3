"""What a picture on a page is: traces and axes for plotly, words, and the same figures as a table.

Plain data: a page (`harness/report/page.py`) encodes it, and colours it for light and dark. Every
line has a dash and a marker of its own, so that nothing depends on colour. Imports NumPy only.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

from harness.text import clean

# A name in a picture is cut here: the legend must leave room for the picture.
LONGEST_NAME = 60

# By place of the label; at least 3:1 against white and against near-black.
STYLES: tuple[tuple[str, str, str], ...] = (  # colour, dash, marker
    ("#2f7ed8", "solid", "circle"),
    ("#c9512e", "dash", "square"),
    ("#3c8f4c", "dashdot", "triangle-up"),
    ("#9a63c4", "dot", "diamond"),
    ("#a87b00", "longdash", "triangle-down"),
    ("#0e8a94", "longdashdot", "cross"),
    ("#c4458f", "5px 2px", "x"),
    ("#7d7d7d", "2px 6px", "star"),
)


@dataclass(frozen=True, eq=False)
class Plot:
    """One picture. `name`: its id in the page, of [a-z0-9-]; `title` names what and the unit.

    `caption`: what is drawn and how to read it, in a sentence or two. `traces`, `layout`: as plotly
    takes them; NumPy arrays may stand for lists; texts in them have passed `text`. No colour of
    paper, grid or font: the page sets those. `header`, `rows`: the same in figures, for who cannot
    see the picture (a summary where there are very many points). `height`: in pixels.
    """

    name: str
    title: str
    caption: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    header: tuple[str, ...] = ()
    rows: list[list[str]] = field(default_factory=list)
    height: int = 380


def text(told: str) -> str:
    """A text of a record as plotly shows it as it stands: plotly reads tags and entities.

    It knows no entity for quotation marks, which end nothing there. No text is empty: plotly would
    make up a name.
    """
    return html.escape(clean(told[:LONGEST_NAME]).strip(), quote=False) or "–"


def style(place: int) -> dict[str, Any]:
    """Colour, dash and marker of the label in this place; no two of the first 64 share all three.

    After the last colour they come again, with hollow markers and the dash of the next one.
    """
    again, first = divmod(place, len(STYLES))
    colour, _, symbol = STYLES[first]
    dash = STYLES[(first + again) % len(STYLES)][1]
    return {
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"color": colour, "symbol": symbol + ("-open" if again else ""), "size": 7},
    }
