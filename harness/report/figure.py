"""What a picture on a page is: traces and axes for plotly, words, and the same figures as a table.

Plain data: a page (`harness/report/page.py`) encodes it, and colours it for light and dark. Every
line has a dash and a marker of its own, so that nothing depends on colour. Imports NumPy only.
"""

from __future__ import annotations

import html
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.text import clean

# A name in a picture is cut here: the legend must leave room for the picture.
LONGEST_NAME = 60

# Of each framework one hue, in three lightnesses for its variants; at least 3:1 against white and
# against near-black.
HUES = {
    "numpy": ("#2d7cd7", "#5494de", "#2368b8"),  # blue
    "torch": ("#d2523e", "#db7464", "#b83e2b"),  # red
    "jax": ("#398c47", "#43a453", "#30763c"),  # green
    "tensorflow": ("#9c63c4", "#ad7fce", "#8b49ba"),  # purple
}
# Of those that are not built in, by a digest of the name: orange, teal, pink, olive, brown.
OTHERS = (
    ("#ad6e00", "#cc8100", "#925c00"),
    ("#108991", "#13a1ab", "#0e737a"),
    ("#c74f95", "#d271aa", "#b2387f"),
    ("#7d8112", "#939716", "#696c0f"),
    ("#a66f4b", "#ba8664", "#8c5d3f"),
)
# Of what belongs to no framework: 4:1 on white and on near-black.
GREY = "#7d7d7d"
# Of text on a pale ground, in light and in dark: at least 7:1 on each that is used.
INK = "#1a1a1a"
# By place of the label.
DASHES = ("solid", "dash", "dashdot", "dot", "longdash", "longdashdot", "5px 2px", "2px 6px")
MARKERS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star")


@dataclass(frozen=True, eq=False)
class Plot:
    """One picture. `name`: its id in the page, of [a-z0-9-]; `title` names what and the unit.

    `finding`: what it shows, in a sentence without a full stop; a page has it above the title.
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
    finding: str = ""


def text(told: str) -> str:
    """A text of a record as plotly shows it as it stands: plotly reads tags and entities.

    It knows no entity for quotation marks, which end nothing there. No text is empty: plotly would
    make up a name.
    """
    return html.escape(clean(told[:LONGEST_NAME]).strip(), quote=False) or "–"


def colour(framework: str, variant: int = 0) -> str:
    """Of a framework's first label, or of its nth; "" is no framework."""
    other = OTHERS[zlib.crc32(framework.encode()) % len(OTHERS)]
    hues = HUES.get(framework, other) if framework else (GREY,)
    return hues[variant % len(hues)]


def pale(own: str) -> str:
    """A hue (#rrggbb) as a ground: a third of it, the rest white."""
    parts = (int(own[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{255 - (255 - part) // 3:02x}" for part in parts)


def style(place: int, framework: str = "", variant: int = 0) -> dict[str, Any]:
    """Colour of a framework's nth label, dash and marker of the label in this place.

    No two of the first 64 places share dash and marker: after the last ones they come again, with
    hollow markers and the dash of the next one.
    """
    again, first = divmod(place, len(MARKERS))
    own = colour(framework, variant)
    dash = DASHES[(first + again) % len(DASHES)]
    return {
        "line": {"color": own, "dash": dash, "width": 2},
        "marker": {"color": own, "symbol": MARKERS[first] + "-open" * bool(again), "size": 7},
    }


def styles(frameworks: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The style of every label, in their order; frameworks: by label."""
    before: list[str] = []
    made = {}
    for place, (label, framework) in enumerate(frameworks.items()):
        made[label] = style(place, framework, before.count(framework))
        before.append(framework)
    return made
