"""Text and tables as Markdown shows them."""

from __future__ import annotations

from harness.text import clean

SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|#~"} | {"<": "&lt;", ">": "&gt;", "\n": " "})
# A single text of a record (an error, a name) is cut here: a report stays readable.
LONGEST_TEXT = 2000


def escape(text: str) -> str:
    """Text that Markdown shows as it stands, on one line."""
    return clean(text)[:LONGEST_TEXT].replace("&", "&amp;").translate(SPECIAL)


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table, cells escaped."""
    lines = [header, ["---"] * len(header), *([escape(v) for v in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]
