"""How every picture of a report is drawn: matplotlib, the same bytes for the same record.

Matplotlib is imported inside functions: a verdict alone needs none.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.text import clean

LONGEST_NAME = 60


@contextmanager
def drawing(name: str, settings: dict[str, Any] | None = None) -> Iterator[None]:
    """Draw in here: matplotlib's own settings do not matter, and its ids depend on `name` only."""
    from matplotlib import style

    fixed = {"svg.hashsalt": name, "svg.fonttype": "none"} | (settings or {})
    with style.context(["default", fixed]), warnings.catch_warnings():
        # A label may hold a character that the font lacks; it is text in the SVG all the same.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def as_svg(figure: Any, title: str) -> str:
    """A figure as an <svg> element, without the date it was drawn."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    drawn = buffer.getvalue()
    return drawn[drawn.index("<svg") :]


def name_entries(legend: Any, names: list[str]) -> None:
    """Give a legend's entries their names, whatever characters they have.

    Numbers stand there first: matplotlib leaves out a name that begins with an underscore, and sets
    one with dollar signs as mathematics.
    """
    for text, told in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(clean(told)[:LONGEST_NAME])
