"""A report as Markdown, for a pull request or a reader. Escapes whatever a record contains."""

from __future__ import annotations

import re

from harness.report.sections import Report, Section
from harness.report.tables import escape, table

# A heading of more letters is several lines.
LONGEST_HEADING = 100


def render(report: Report) -> str:
    """The whole report; pictures of a page alone are left out."""
    return "\n".join(["\n".join(_beginning(report)), *_sections(report), *_end(report)])


def fitted(report: Report, most: int) -> str:
    """A report in at most `most` bytes: sections are left out from the end, and named.

    Where not even its beginning fits, nothing is left of it.
    """
    first, sections = "\n".join(_beginning(report)), _sections(report)
    named = [section.title for section in (*report.top, *report.sections) if section]
    for kept in range(len(sections), -1, -1):
        left = "; ".join(filter(None, named[kept:]))
        note = [f"Left out for want of room: {escape(left)}.\n"] if kept < len(sections) else []
        cut = "\n".join([first, *sections[:kept], *note, *_end(report)])
        if len(cut.encode()) <= most:
            return cut
    return ""


def _beginning(report: Report) -> list[str]:
    """The verdict as a heading, a long sentence below it; what was run; what must be said."""
    short = _short(report.sentence)
    words = escape(": ".join(filter(None, (report.word, short))))
    lines = [f"# {report.mark} {words}" if report.mark else f"# {words}", ""]
    if short != report.sentence:
        lines += [f"{escape(report.sentence)}.", ""]
    for line in report.headline:
        lines += [escape(line), ""]
    for warning in report.warnings:
        lines += [f"> **{escape(warning)}**", ""]
    return lines


def _short(sentence: str) -> str:
    """As much of a sentence as a heading has room for: its first part."""
    if len(sentence) <= LONGEST_HEADING:
        return sentence
    return re.split(r": | \(|; ", sentence, maxsplit=1)[0][:LONGEST_HEADING]


def _sections(report: Report) -> list[str]:
    return [
        "\n".join(_section(section, "##")) for section in (*report.top, *report.sections) if section
    ]


def _end(report: Report) -> list[str]:
    return [escape(line) for line in report.end] or [""]


def _section(section: Section, level: str) -> list[str]:
    """Its heading, then what it holds; what is inside has headings one level below."""
    if not section:
        return []
    title = escape(section.title)
    lines = [f"{level} {title}", ""] if title and not section.folded else []
    if section.folded:
        lines = [f"<details><summary>{title}</summary>", ""]
    lines += [escape(section.note), ""] if section.note else []
    lines += [*(f"- {escape(line)}" for line in section.lines), ""] if section.lines else []
    if section.rows:
        lines += tabled(section)
    for inner in section.inside:
        lines += _section(inner, f"{level}#")
    return [*lines, "</details>", ""] if section.folded else lines


def tabled(section: Section) -> list[str]:
    """A table; one of labels has a column a label: its rows are many."""
    if not section.across:
        return table([*map(escape, section.header)], section.texts)
    turned = section.turned()
    return table(["", *map(escape, turned.header[1:])], turned.texts)
