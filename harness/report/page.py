"""A report as a page: one self-contained HTML file.

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
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.errors import HarnessError
from harness.report import legend, words
from harness.report.figure import Plot
from harness.report.sections import Cell, Report, Section, Value, plain
from harness.text import clean

TEMPLATES = Path(__file__).parent / "templates"
# A single text of a record (an error, a name) is cut here: a page stays readable.
LONGEST_TEXT = 2000
# The numbers that plotly takes as they lie in memory, the smallest first. Of NumPy's it knows no
# whole ones of 64 bits: larger ones become float64, exact to 2**53.
WHOLE = ("i1", "u1", "i2", "u2", "i4", "u4")
# A longer text in a table is broken into lines.
LONGEST_CELL = 36
# A table of labels with more columns than this has a column a label instead.
MOST_COLUMNS = 12
# What a path of a drawing may consist of.
_PATH = re.compile(r"[MLhvz0-9e. -]*")
# What is not broken at its hyphen: 1e-5, a run's name.
_WHOLE = re.compile(r"(?<!\S)\S{0,30}-\d\S{0,30}(?!\S)")
_NUMBER = re.compile(r"([-+−±]?\.?\d|nan$|-?inf$)")
# What could end a block of data or mean something in HTML; U+2028 and 9 end lines in older scripts.
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def render(report: Report) -> str:
    """A page: page.html.j2 with the report's sections; without a plot it does without plotly.

    The same report gives the same text. HarnessError where plotly's script is not installed.
    """
    from markupsafe import Markup

    # A page leads to each of them.
    assert all(section.id and section.title for section in report.sections if section)
    plots = [p for section in report.walk() for p in section.pictures if isinstance(p, Plot)]
    entries = legend.shared(plots)
    before = next((s.id for s in report.sections if _has_plots(s)), "") if entries else ""
    head, script = _file("head.js"), _file("page.js")
    plotly = plotly_source() if plots else ""
    allowed = " ".join(f"'{integrity(source)}'" for source in (head, script, plotly) if source)
    # All of these are files of ours, or encoded here so that no tag ends them.
    page: str = _template().render(
        report=report,
        plots=[legend.without(plot, entries) for plot in plots],
        legend={"entries": entries, "before": before},
        policy=(
            f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        ),
        style=Markup(_file("page.css")),  # noqa: S704
        head=Markup(head),  # noqa: S704
        script=Markup(script),  # noqa: S704
        plotly=Markup(pack(plotly)) if plotly else "",  # noqa: S704
    )
    return page


def _has_plots(section: Section) -> bool:
    """Whether it, or what is inside, has a picture that plotly draws."""
    own = any(isinstance(picture, Plot) for picture in section.pictures)
    return own or any(map(_has_plots, section.inside))


def integrity(script: str) -> str:
    """An inline script's name in a content security policy: the SHA-256 of its text."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def as_json(value: Any) -> str:
    """JSON that may stand inside a <script> block; what is not finite becomes null.

    NumPy arrays stand as plotly reads them: dtype, the bytes in base64, and with two axes or more
    the shape.
    """
    return msgspec.json.encode(value, enc_hook=_encoded).decode().translate(_UNSAFE)


def _encoded(value: Any) -> Any:
    """What plotly reads of NumPy's; an array that holds no numbers becomes a list."""
    if isinstance(value, np.generic):
        return value.item()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.size == 0:
        return array.tolist()
    kind = "f4" if array.dtype.itemsize <= 4 else "f8"
    if array.dtype.kind in "biu":
        low, high = int(array.min()), int(array.max())
        fits = (k for k in WHOLE if np.iinfo(k).min <= low and high <= np.iinfo(k).max)
        kind = next(fits, "f8")
    data = np.ascontiguousarray(array, dtype=f"<{kind}")
    encoded = {"dtype": kind, "bdata": base64.b64encode(data.tobytes()).decode()}
    return encoded if array.ndim == 1 else encoded | {"shape": ", ".join(map(str, array.shape))}


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
    package = importlib.util.find_spec("plotly")
    try:
        if package is None or package.origin is None:
            raise OSError("plotly is not installed")
        path = Path(package.origin).parent / "package_data" / "plotly.min.js"
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"no plotly.min.js for the page: {error}") from None


def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@functools.cache
def _template() -> Any:
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
    environment.filters |= {
        "brief": lambda name: words.SHORT.get(name, ""),
        "data": lambda plot: Markup(as_json({"traces": plot.traces, "layout": plot.layout})),  # noqa: S704
        "kind": lambda picture: type(picture).__name__,
        "laid_out": laid_out,
        "path": path,
        "plain": plain,
        "spoken": lambda cell: getattr(cell, "spoken", ""),
        "link": lambda cell: getattr(cell, "link", ""),
        "look": lambda *cell: Markup(look(*cell)),  # noqa: S704
        "to_the_right": to_the_right,
        "unbroken": unbroken,
        "tone": tone,
    }
    return environment.get_template("page.html.j2")


def _shown(value: Any) -> Any:
    """What a template prints: texts without control and direction characters, of bounded length."""
    if type(value) is not str:
        return value
    text = clean(value)
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " … (cut)"


def path(drawing: str) -> str:
    """A path of an SVG, whole whatever its length; "" of what is none."""
    from markupsafe import Markup

    return Markup(drawing if _PATH.fullmatch(drawing) else "")  # noqa: S704


def unbroken(text: str) -> Any:
    """A sentence whose numbers stay in one line."""
    from markupsafe import Markup, escape

    shown, at, parts = _shown(text), 0, []
    for found in _WHOLE.finditer(shown):
        parts += [escape(shown[at : found.start()]), Markup("<span class=whole>")]
        parts += [escape(found[0]), Markup("</span>")]
        at = found.end()
    return Markup("").join([*parts, escape(shown[at:])])


def laid_out(section: Section) -> Section:
    """A section as there is room for it: more columns than a screen has become rows."""
    wide = section.across and len(section.header) > MOST_COLUMNS
    return section.turned() if wide and section.rows else section


def tone(cell: Value) -> str:
    """The class of a cell that begins with a verdict's mark or word; "" for any other."""
    if isinstance(cell, Cell):
        return cell.tone
    text = plain(cell)
    for verdict, mark in words.MARKS.items():
        if text.startswith(mark) or text == verdict:
            return verdict
    return "failed" if text.startswith("NOT ") else "differs" if text.startswith("≠") else ""


def to_the_right(rows: Sequence[Sequence[Value]]) -> set[int]:
    """The columns of a table, but the first, that hold figures: at least half their cells do."""
    right = set()
    for i in range(1, min(map(len, rows), default=0)):
        texts = [text for row in rows if (text := plain(row[i])) != "–"]
        figures = [text for text in texts if _NUMBER.match(text)]
        if texts and 2 * len(figures) >= len(texts) and max(map(len, texts)) <= LONGEST_CELL:
            right.add(i)
    return right


def look(cell: Value, right: bool = False) -> str:
    """The class attribute of a table's cell: its verdict, a figure (to the right), a long text."""
    long = "long" if len(plain(cell)) > LONGEST_CELL else ""
    classes = " ".join(filter(None, (tone(cell), "n" if right else "", long)))
    return f' class="{classes}"' if classes else ""
