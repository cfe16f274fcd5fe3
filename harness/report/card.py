"""A run as one picture for a README or a pull request: verdict, marks, and steps by their time.

An SVG of 1200 x 630, the size that links are shown in; its letters are to be read at half of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from harness.record.schema import Record
from harness.report import words
from harness.report.figure import styles
from harness.text import clean
from harness.verdict.finding import in_words
from harness.verdict.timings import StepTime
from harness.verdict.verdict import LabelVerdict, Verdict, agreement
from harness.workloads.reference.limits import RUNGS

NAME = "card.svg"
WIDTH, HEIGHT, EDGE = 1200, 630, 60
INK, SOFT, PAPER = "#1c1b19", "#63605a", "#fdfdfb"
COLOURS = {"agree": "#2e7d4f", "disagree": "#a3221c", "failed": "#a3221c"}
OPEN = "#8a6100"
# What there is room for: rows of labels, letters of a name and of a line.
MOST_ROWS, LONGEST_LABEL, LONGEST_LINE = 6, 18, 68
TOP, ROW = 318, 44
MARKS_AT, MARK_WIDTH, BARS_AT, BARS_TO = 350, 44, 775, 1000
SANS = "font-family='system-ui, Segoe UI, Helvetica, Arial, sans-serif'"


def card(record: Record, verdict: Verdict) -> str:
    """The picture of a judged run, its labels by the time of their steps."""
    word = verdict.verdict
    colour = COLOURS.get(word, OPEN)
    summary = words.MARKS[word], f"{word}: {verdict.summary}"
    lines = [*_said(verdict)]
    plan = record.plan
    what = f"{plan.workload.name} · profile {plan.profile} · {words.images(record)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {SANS}>',
        f"<title>{_text(' '.join(summary))}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
        f'<rect width="{WIDTH}" height="14" fill="{colour}"/>',
        _at(EDGE, 112, f"{words.MARKS[word]} {word}", 72, colour, "font-weight='700'"),
        *(_at(EDGE, 162 + 36 * i, line, 28, INK) for i, line in enumerate(lines)),
        _at(EDGE, 242, _cut(what, LONGEST_LINE + 18), 22, SOFT),
        _at(WIDTH - EDGE, HEIGHT - 24, f"run {record.run}", 22, SOFT, "text-anchor='end'"),
        *_table(record, verdict),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _table(record: Record, verdict: Verdict) -> Iterator[str]:
    """A row a label: its name, a mark a rung, the time of a step as a bar."""
    labels = sorted(verdict.labels.items(), key=lambda one: _time(one[1]))
    longest = max((t.median_ns for _, of in labels if (t := of.step_time)), default=0)
    for place, rung in enumerate(RUNGS):
        x = MARKS_AT + MARK_WIDTH * place
        yield _at(x, TOP - 16, words.SHORT[rung], 22, SOFT, "text-anchor='middle'")
    if longest:
        yield _at(BARS_AT, TOP - 16, "time of a step", 22, SOFT)
    own = styles({name: of.backend for name, of in record.plan.labels.items()})
    for row, (name, label) in enumerate(labels[:MOST_ROWS]):
        y = TOP + ROW * row + 18
        yield _at(EDGE, y, _cut(name, LONGEST_LABEL), 26, INK)
        if label.status in ("failed", "skipped"):
            told = _cut(f"{label.status}: {label.reason or ''}", 52)
            yield _at(MARKS_AT - 12, y, told, 22, COLOURS.get(label.status, SOFT))
            continue
        yield from _marks(label, y)
        if label.step_time is not None:
            hue = own[name]["line"]["color"]
            yield from _bar(label.step_time, longest, y, hue, _claimed(label))
    if more := len(labels) - MOST_ROWS:
        yield from ([_at(EDGE, HEIGHT - 24, f"and {more} more", 22, SOFT)] if more > 0 else [])


def _time(label: LabelVerdict) -> float:
    return label.step_time.median_ns if label.step_time is not None else float("inf")


def _claimed(label: LabelVerdict) -> bool:
    """Whether its time may be ranked: its numbers agree, and its clocks are settled."""
    timing = label.findings.get("timing")
    return agreement(label) == "agree" and timing is not None and timing.verdict == "agree"


def _marks(label: LabelVerdict, y: int) -> Iterator[str]:
    following = words.following(label)
    for place, rung in enumerate(RUNGS):
        finding = label.findings.get(rung)
        mark = "–" if finding is None else words.MARKS[finding.verdict]
        colour = SOFT if finding is None else COLOURS.get(finding.verdict, OPEN)
        colour = "#b5b1a8" if rung in following else colour
        x = MARKS_AT + MARK_WIDTH * place
        yield _at(x, y, mark, 26, colour, "text-anchor='middle' font-weight='700'")


def _bar(time: StepTime, longest: int, y: int, hue: str, claimed: bool) -> Iterator[str]:
    """Filled where the time may be ranked, an outline where not."""
    width = max(3, round((BARS_TO - BARS_AT) * time.median_ns / longest))
    fill = f'fill="{hue}"' if claimed else f'fill="none" stroke="{hue}" stroke-width="2"'
    yield f'<rect x="{BARS_AT}" y="{y - 22}" width="{width}" height="26" rx="3" {fill}/>'
    yield _at(BARS_AT + width + 12, y, words.duration(time.median_ns), 24, INK)


def _said(verdict: Verdict) -> Iterator[str]:
    """The verdict in two lines; of a divergence the first part of its sentence, and why."""
    if (first := verdict.first_divergence) is None:
        yield from _lines(verdict.summary)
        return
    sentence, _, rest = clean(first.sentence).partition("; ")
    yield _cut(sentence, LONGEST_LINE)
    if why := in_words(first.explanation) or first.hint or rest:
        yield _cut(clean(why), LONGEST_LINE)


def _lines(text: str) -> Iterator[str]:
    """A sentence in at most two lines, cut between words."""
    line, lines = "", []
    for word in clean(text).split():
        if line and len(line) + 1 + len(word) > LONGEST_LINE:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    lines.append(line)
    for number, told in enumerate(lines[:2]):
        yield _cut(told if number == 0 or len(lines) <= 2 else f"{told} …", LONGEST_LINE)


def _at(x: int, y: int, text: str, size: int, colour: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" {more}>{_text(text)}</text>'


def _text(text: str) -> str:
    return escape(clean(text))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
