"""The ladder in a line a label, for a terminal of 72 columns and any number of labels.

Takes a stored record and its verdict; the marks are those of the other reports.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.report import words
from harness.report.ladder import share_of
from harness.report.run_tables import Run
from harness.report.sections import Section
from harness.text import clean, short
from harness.verdict.verdict import LabelVerdict, agreement
from harness.workloads.reference.limits import RUNGS

# A label of more letters has a line to itself: no name is cut or folded.
WIDEST = 15
FOLLOWS, EXPECTED = "·", "e"


def section(run: Run) -> Section:
    """A line a label: a mark a rung, headroom, and the time of a step over the fastest's."""
    labels = run.verdict.labels
    width = min(WIDEST, max((len(clean(name)) for name in labels), default=0))
    timed = [
        label.step_time.median_ns
        for label in labels.values()
        if label.step_time is not None and agreement(label) == "agree"
    ]
    fastest = min(timed, default=0.0)
    rows = [line for name, of in labels.items() for line in _rows(name, of, width, fastest)]
    marks = " ".join(f"{words.SHORT[rung]:2}" for rung in RUNGS)
    header = _line("", marks, "headroom", "step", "× best", width)
    return Section(lines=[header, *rows, *_legend(labels)])


def _rows(name: str, label: LabelVerdict, width: int, fastest: float) -> Iterator[str]:
    told = clean(name)
    if len(told) > width:
        yield told
        told = ""
    if label.status != "ok":
        yield f"{told:{width}}  {label.status}: {label.reason or ''}".rstrip()
    if label.findings:
        time = label.step_time.median_ns if label.step_time is not None else None
        ranked = time is not None and agreement(label) == "agree"
        ratio = words.decimals(time / fastest if time is not None and ranked else None)
        told = "" if label.status != "ok" else told
        marks = " ".join(f"{mark:2}" for mark in _marks(label))
        yield _line(told, marks, _headroom(label), words.duration(time), ratio, width)


def _line(name: str, marks: str, headroom: str, step: str, ratio: str, width: int) -> str:
    return f"{name:{width}}  {marks} {headroom:>9}  {step:>8}  {ratio:>6}".rstrip()


def _marks(label: LabelVerdict) -> Iterator[str]:
    following = words.following(label)
    for rung in RUNGS:
        finding = label.findings.get(rung)
        if finding is None:
            yield "–"
        elif finding.expected is not None:
            yield EXPECTED
        else:
            yield FOLLOWS if rung in following else words.MARKS[finding.verdict]


def _headroom(label: LabelVerdict) -> str:
    """How many times below its limit the value nearest it lies, and on which rung."""
    shares = [
        (of, rung)
        for rung, finding in label.findings.items()
        if rung != "timing" and (of := share_of(finding.value, finding.limit)) is not None
    ]
    share, rung = max(shares, default=(0.0, ""))
    return f"{short(1 / share)}× {words.SHORT[rung]}" if 0 < share <= 1 else "–"


def _legend(labels: dict[str, LabelVerdict]) -> Iterator[str]:
    """What the letters mean, as far as they stand there."""
    names = [f"{words.SHORT[rung]} {rung}" for rung in RUNGS]
    yield ""
    yield " · ".join(names[:5])
    more = names[5:]
    shown = {mark for label in labels.values() for mark in _marks(label)}
    more += [f"{FOLLOWS} follows from the ✗ before it"] if FOLLOWS in shown else []
    more += [f"{EXPECTED} as declared"] if EXPECTED in shown else []
    yield " · ".join(more[:4])
    if more[4:]:
        yield " · ".join(more[4:])
