"""A report as Markdown, for a pull request or a reader. Escapes whatever a record contains."""

from __future__ import annotations

from harness.report.sections import Report, Section
from harness.report.tables import escape, table


def render(report: Report) -> str:
    """The whole report; pictures of a page alone are left out."""
    words = escape(": ".join(filter(None, (report.word, report.sentence))))
    lines = [f"# {report.mark} {words}" if report.mark else f"# {words}", ""]
    for line in report.headline:
        lines += [escape(line), ""]
    for warning in report.warnings:
        lines += [f"> **{escape(warning)}**", ""]
    for section in (*report.top, *report.sections):
        lines += _section(section, "##")
    return "\n".join([*lines, *map(escape, report.end)])


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
        lines += table([*map(escape, section.header)], section.texts)
    for inner in section.inside:
        lines += _section(inner, f"{level}#")
    return [*lines, "</details>", ""] if section.folded else lines


def fitted(text: str, most: int) -> str:
    """A report in at most `most` bytes: sections are left out from the end, and named.

    Where not even its beginning fits, nothing is left of it.
    """
    first, *sections = text.split("\n## ")
    for kept in range(len(sections), -1, -1):
        left = [section.partition("\n")[0] for section in sections[kept:]]
        note = f"\nLeft out for want of room: {'; '.join(left)}.\n" if left else ""
        cut = "\n## ".join([first, *sections[:kept]]) + note
        if len(cut.encode()) <= most:
            return cut
    return ""
