"""Pages: one self-contained HTML file each, from a template, plots and texts of a record.

What a page needs lies inside it (style, scripts, plotly once and packed), so it opens from a disk
with the network off. Whatever a record says is hostile: autoescape is on, every text passes
`clean`, data for plots stands in JSON blocks that no tag ends, and a content security policy lets
run only the scripts whose SHA-256 it names. Imports NumPy; Jinja2 inside functions only.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import json
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.interface import Array
from harness.report import words
from harness.report.figure import Plot
from harness.text import clean

TEMPLATES = Path(__file__).parent / "templates"
# A single text of a record (an error, a name) is cut here: a page stays readable.
LONGEST_TEXT = 2000
# The numbers that plotly takes as they lie in memory, the smallest first. Of NumPy's it knows no
# whole ones of 64 bits: larger ones become float64, exact to 2**53.
WHOLE = ("i1", "u1", "i2", "u2", "i4", "u4")
# A longer text in a table is broken into lines.
LONGEST_CELL = 36
_NUMBER = re.compile(r"([-+−±]?\.?\d|nan$|-?inf$)")
# What could end a block of data or mean something in HTML; U+2028 and 9 end lines in older scripts.
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@dataclass(frozen=True)
class Table:
    """A table as the page shows it; `caption` says what its figures are.

    `figures`: False where what looks like a number is a name, such as a version.
    """

    caption: str
    header: Sequence[str]
    rows: list[list[str]]
    figures: bool = True


def render(template: str, *, title: str, plots: list[Plot], **context: Any) -> str:
    """A page: `harness/report/templates/<template>`, which extends base.html.j2.

    title: of the browser's window; plots: those that the template shows with `{{ plot(p) }}`; a
    page without any does without plotly. context: what the template names besides. The same
    arguments give the same text. HarnessError where plotly's script is not installed.
    """
    from markupsafe import Markup

    head, script = _file("head.js"), _file("page.js")
    plotly = plotly_source() if plots else ""
    allowed = " ".join(f"'{integrity(source)}'" for source in (head, script, plotly) if source)
    # All of these are files of ours, or encoded here so that no tag ends them.
    page = _environment().get_template(template)
    told: str = page.render(
        title=title,
        plots=plots,
        policy=(
            f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        ),
        style=Markup(_file("page.css")),  # noqa: S704
        head=Markup(head),  # noqa: S704
        script=Markup(script),  # noqa: S704
        plotly=Markup(pack(plotly)) if plotly else "",  # noqa: S704
        **context,
    )
    return told


def integrity(script: str) -> str:
    """An inline script's name in a content security policy: the SHA-256 of its text."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def as_json(value: Any) -> str:
    """JSON that may stand inside a <script> block; what is not finite becomes null.

    NumPy arrays stand as plotly reads them: dtype, the bytes in base64, and with two axes or more
    the shape.
    """
    told = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return told.translate(_UNSAFE)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _array(array: Array) -> Any:
    """An array for plotly; one that holds no numbers becomes a list."""
    if array.dtype.kind not in "biuf" or array.size == 0:
        return _plain(array.tolist())
    if array.dtype.kind in "biu":
        low, high = int(array.min()), int(array.max())
        fits = (k for k in WHOLE if np.iinfo(k).min <= low and high <= np.iinfo(k).max)
        kind = next(fits, "f8")
    else:
        kind = "f4" if array.dtype.itemsize <= 4 else "f8"
    data = np.ascontiguousarray(array, dtype=f"<{kind}")
    told = {"dtype": kind, "bdata": base64.b64encode(data.tobytes()).decode()}
    return told if array.ndim == 1 else told | {"shape": ", ".join(map(str, array.shape))}


def data_address(kind: str, data: bytes) -> str:
    """Bytes as the address of an image inside the page; `kind`: image/png, say."""
    from markupsafe import Markup

    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode()}")  # noqa: S704


@functools.lru_cache(maxsize=1)
def pack(script: str) -> str:
    """A script deflated (zlib) and in base64: two megabytes of plotly's five.

    page.js unpacks it into a <script> of its own, which the policy names by what is inside.
    """
    return base64.b64encode(zlib.compress(script.encode(), 9)).decode()


def plotly_source() -> str:
    """plotly.min.js of the installed package, without importing that."""
    found = importlib.util.find_spec("plotly")
    try:
        if found is None or found.origin is None:
            raise OSError("plotly is not installed")
        path = Path(found.origin).parent / "package_data" / "plotly.min.js"
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"no plotly.min.js for the page: {error}") from None


def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data"] = lambda plot: Markup(  # noqa: S704
        as_json({"traces": plot.traces, "layout": plot.layout})
    )
    environment.filters["tone"] = tone
    environment.filters["look"] = lambda *told: Markup(look(*told))  # noqa: S704
    environment.filters["to_the_right"] = to_the_right
    environment.globals["MARKS"] = words.MARKS
    return environment


def _shown(value: Any) -> Any:
    """What a template prints: texts without control and direction characters, of bounded length."""
    if value is None:
        return "–"
    if type(value) is not str:
        return value
    told = clean(value)
    return told if len(told) <= LONGEST_TEXT else told[:LONGEST_TEXT] + " … (cut)"


def tone(cell: str) -> str:
    """The class of a cell that begins with a verdict's mark or word; "" for any other."""
    for verdict, mark in words.MARKS.items():
        if cell.startswith(mark) or cell == verdict:
            return verdict
    return "failed" if cell.startswith("NOT ") else "differs" if cell.startswith("≠") else ""


def to_the_right(rows: list[list[str]]) -> set[int]:
    """The columns of a table, but the first, that hold figures: at least half their cells do."""
    found = set()
    for i in range(1, min(map(len, rows), default=0)):
        told = [row[i] for row in rows if row[i] != "–"]
        figures = [text for text in told if _NUMBER.match(text)]
        if told and 2 * len(figures) >= len(told) and max(map(len, told)) <= LONGEST_CELL:
            found.add(i)
    return found


def look(cell: str, right: bool = False) -> str:
    """The class attribute of a table's cell: its verdict, a figure (to the right), a long text."""
    told = [tone(cell), "n" if right else "", "long" if len(cell) > LONGEST_CELL else ""]
    classes = " ".join(filter(None, told))
    return f' class="{classes}"' if classes else ""
