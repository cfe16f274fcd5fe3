"""Workloads and labels in one table: a row a workload, a column a label, an answer in each cell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from harness.record.facts import versions
from harness.record.schema import Record
from harness.report.sections import Cell, Report, Section, Value
from harness.report.words import MARKS, duration, warnings
from harness.text import many
from harness.verdict.finding import Finding
from harness.verdict.numbers import sentence_for
from harness.verdict.timing_stats import Ratio
from harness.verdict.timings import too_short, versus
from harness.verdict.verdict import LabelVerdict, Verdict
from harness.workloads.reference.limits import RUNGS

# The worst word of several, first.
WORST = ("failed", "disagree", "inconclusive", "agree")
# What stands in a label's place where a whole workload's times are meant.
TIMING = "timing"
# The word of a difference that is known.
ACCEPTED = "accepted"


class Run(NamedTuple):
    """A stored run, judged; `folder`: where, "" where nobody is to look."""

    record: Record
    verdict: Verdict
    folder: str

    @property
    def seed(self) -> int:
        """Of a sweep's run its only one."""
        return self.record.plan.seeds[0]


class Row(NamedTuple):
    """A workload: of each label its runs, and the run that its times are of.

    `reasons`: why there is none of a label ("": of the whole workload); `skipped`: the same of
    those that could not take part.
    """

    workload: str
    runs: Mapping[str, Sequence[Run]]
    timed: Run | None = None
    reasons: Mapping[str, str] = {}
    skipped: Mapping[str, str] = {}

    def of(self, name: str) -> list[Run]:
        """The runs of a label; the one of times is judged, too."""
        runs = [*self.runs.get(name, ())]
        if self.timed is not None and all(run is not self.timed for run in runs):
            runs.append(self.timed)
        return runs

    @property
    def whole(self) -> Run | None:
        """The one run that it all is; None where there are several, or should be."""
        runs = {run.folder: run for of in self.runs.values() for run in of}
        return next(iter(runs.values())) if len(runs) == 1 and not self.reasons else None


class Difference(NamedTuple):
    """What counts against a label; `rung`: or an operator, `tensor`: "" where there is none."""

    rung: str
    tensor: str
    place: str
    sentence: str


class Accepted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A difference that is known, and why it is right so. Patterns as of a shell: * and ?."""

    reason: str
    workload: str = "*"
    label: str = "*"
    rung: str = "*"
    tensor: str = "*"

    def takes(self, workload: str, label: str, one: Difference) -> bool:
        """Whether it is this one."""
        found = (workload, label, one.rung, one.tensor)
        wanted = (self.workload, self.label, self.rung, self.tensor)
        return all(map(fnmatchcase, found, wanted))

    @property
    def place(self) -> str:
        """In words."""
        return f"{self.workload}, {self.label}, {self.rung}, {self.tensor}"


class Answer(NamedTuple):
    """A cell: the worst of its runs, and the run that says so.

    word: "agree", "disagree", "inconclusive", "failed", ACCEPTED, or "" for none asked.
    """

    word: str
    says: str = ""
    run: Run | None = None
    reason: str = ""


def answer(row: Row, name: str, accepted: Sequence[Accepted] = ()) -> Answer:
    """What a label's runs of a workload come to."""
    if name in row.skipped:
        return Answer("", reason=row.skipped[name])
    answers = [_of_run(row.workload, name, run, accepted) for run in row.of(name)]
    if reason := row.reasons.get(name) or row.reasons.get(""):
        answers.append(Answer("failed", "failed", reason=reason))
    order = ("failed", "disagree", "inconclusive", ACCEPTED, "agree", "")
    return min(answers, key=lambda each: order.index(each.word), default=Answer(""))


def _of_run(workload: str, name: str, run: Run, accepted: Sequence[Accepted]) -> Answer:
    label = run.verdict.labels.get(name)
    if label is None or label.status == "skipped":
        return Answer("", run=run, reason=label.reason or "" if label else "")
    if label.status == "failed":
        return Answer("failed", "failed", run, label.reason or "")
    for one in (differ := differences(name, label)):
        if not any(known.takes(workload, name, one) for known in accepted):
            return Answer("disagree", one.place, run, one.sentence)
    if differ:
        why = [k.reason for k in accepted if any(k.takes(workload, name, one) for one in differ)]
        return Answer(ACCEPTED, differ[0].place, run, "; ".join(dict.fromkeys(why)))
    return Answer("agree" if label.agrees else "inconclusive", run=run)


def differences(name: str, label: LabelVerdict) -> list[Difference]:
    """Whatever counts against a label, tensor by tensor: the lowest rung first, operators last."""
    found = sorted(label.findings.values(), key=lambda finding: RUNGS.index(finding.rung))
    differ = [
        _difference(name, finding, tensor)
        for finding in found
        if finding.counts
        for tensor in finding.off or ("",)
    ]
    return differ + [
        Difference(operator, "", f"operator {operator}", judged.sentence)
        for operator, judged in label.operators.items()
        if judged.verdict == "disagree"
    ]


def _difference(label: str, finding: Finding, tensor: str) -> Difference:
    """Of a finding as it stands; of another tensor than its first, that one's."""
    at, rung = finding.off.get(tensor), finding.rung
    if at is None:
        return Difference(rung, tensor, rung, finding.sentence)
    step = "" if at.step is None else f", step {at.step}"
    sentence = "; ".join(filter(None, (finding.sentence, finding.explained)))
    if at is not finding.first:
        sentence = f"{label}, {sentence_for(rung, at)}"
    return Difference(rung, tensor, f"{rung}{step}: {tensor}", sentence)


def labels_of(rows: Sequence[Row]) -> list[str]:
    """The columns: labels that any workload has or lacks."""
    return [*dict.fromkeys(name for row in rows for name in (*row.runs, *row.skipped))]


def words(rows: Sequence[Row], accepted: Sequence[Accepted] = ()) -> list[str]:
    """A workload's verdict each: that of its one run, else the worst of its labels."""
    found: list[str] = []
    for row in rows:
        if row.whole is not None and not accepted:
            found.append(row.whole.verdict.verdict)
            continue
        of = {answer(row, name, accepted).word for name in {*row.runs, *row.reasons}}
        of = {"agree" if word == ACCEPTED else word for word in of if word}
        found.append(next((word for word in WORST if word in of), "failed"))
    return found


def gone(rows: Sequence[Row], accepted: Sequence[Accepted]) -> list[Accepted]:
    """Accepted differences that no run has."""
    found = [
        (row.workload, name, one)
        for row in rows
        for name in row.runs
        for run in row.of(name)
        if name in run.verdict.labels
        for one in differences(name, run.verdict.labels[name])
    ]
    return [one for one in accepted if not any(one.takes(*each) for each in found)]


def gone_lines(lost: Sequence[Accepted]) -> list[str]:
    """What `gone` found, in sentences."""
    mark = MARKS["disagree"]
    return [f"{mark} accepted, and gone: {one.place} ({one.reason})" for one in lost]


def report(
    rows: Sequence[Row],
    at: Path = Path(),
    accepted: Sequence[Accepted] = (),
    moved: Sequence[str] = (),
) -> Report:
    """The table, a sentence for all that does not agree, and what moved since the last time.

    at: the folder that the page will lie in; a cell leads from there to its run's.
    """
    found = words(rows, accepted)
    lost = gone(rows, accepted)
    word = "disagree" if lost else "agree"
    word = next(each for each in WORST if each in (*found, word))
    agreed, labels = found.count("agree"), labels_of(rows)
    one_each = any(row.timed and row.timed is row.whole for row in rows)
    table = Section(
        "Workloads",
        ("workload", *labels, "judged", *(["record"] if one_each else [])),
        [_cells(*each, labels, at, accepted, one_each) for each in zip(rows, found, strict=True)],
        about="first divergence, or step time over that of the fastest that agrees",
        id="workloads",
        figures=False,
    )
    said = [*_said(rows, found, accepted)]
    said += gone_lines(lost)
    sentence = f"{agreed} of {len(rows)} workloads agree"
    if lost:
        sentence += f"; {many(len(lost), 'accepted difference')} gone"
    return Report(
        word=word,
        sentence=sentence,
        mark=MARKS[word],
        tone=word,
        headline=[f"{many(len(rows), 'workload')} · {many(len(labels), 'label')}", *_what(rows)],
        warnings=_warnings(rows),
        sections=[
            table,
            Section("What is to be said", id="said", lines=said),
            Section("Since the last sweep", id="since", lines=moved),
            Section("Not possible here", id="not-possible", lines=_skipped(rows)),
        ],
        title=f"{MARKS[word]} {sentence}",
    )


def _runs(row: Row) -> list[Run]:
    """All of a workload, each once."""
    return [
        *{run.record.run: run for name in row.runs or (TIMING,) for run in row.of(name)}.values()
    ]


def _what(rows: Sequence[Row]) -> list[str]:
    """What the runs have been made with: plans, then when, and which versions."""
    runs = [run for row in rows for run in _runs(row)]
    if not runs:
        return []
    plans = [run.record.plan for run in runs]
    labels = [label for plan in plans for label in plan.labels.values()]
    known = {
        f"{name} {version}"
        for run in runs
        for label in run.verdict.labels.values()
        if label.process is not None
        for name, version in versions(label.process.facts).items()
    }
    dates = sorted(run.record.started for run in runs)
    plan: dict[str, set[Any]] = {
        "profile": {plan.profile for plan in plans},
        "seed": {seed for plan in plans for seed in plan.seeds},
        "dtype": {label.dtype for label in labels},
        "device": {label.device for label in labels},
        "precision": {label.precision for label in labels},
    }
    made: dict[str, set[Any]] = {
        "harness": {run.record.harness_version for run in runs},
        "version": known,
    }
    when = f"started {dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else "")
    first, second = (
        " · ".join(
            f"{name}{'s' * (len(of) > 1)} {', '.join(map(str, sorted(of)))}"
            for name, of in each.items()
        )
        for each in (plan, made)
    )
    return [first, f"{when} · {second}"]


def _warnings(rows: Sequence[Row]) -> list[str]:
    """What must be said loudly of any run: once, and of which workloads where not of all."""
    whose: dict[str, list[str]] = {}
    for row in rows:
        for line in dict.fromkeys(line for run in _runs(row) for line in warnings(run.record)):
            whose.setdefault(line, []).append(row.workload)
    return [
        line if len(of) == len(rows) else f"{', '.join(of)}: {line}" for line, of in whose.items()
    ]


def _said(rows: Sequence[Row], found: list[str], accepted: Sequence[Accepted]) -> list[str]:
    """A line for each workload, or cell, that does not simply agree."""
    lines = []
    for row, word in zip(rows, found, strict=True):
        if (whole := row.whole) is not None and not accepted:
            if word != "agree" or whole.record.failure is not None:
                lines.append(f"{MARKS[word]} {row.workload}: {whole.verdict.summary}.")
            continue
        if (why := row.reasons.get("")) is not None:
            lines.append(f"{MARKS['failed']} {row.workload}: {why}.")
        for name in {**row.runs, **row.reasons}:
            of = answer(row, name, accepted)
            if name and of.word not in ("agree", ""):
                mark = MARKS.get(of.word, "≠")
                seed = f", seed {of.run.seed}" if of.run is not None else ""
                why = of.reason or (of.run.verdict.summary if of.run is not None else "")
                lines.append(f"{mark} {row.workload}, {name}{seed}: {of.word}: {why}")
    return lines


def _skipped(rows: Sequence[Row]) -> list[str]:
    """Each reason once."""
    whom: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, reason in row.skipped.items():
            whom.setdefault((name, reason), []).append(row.workload)
    every = len(rows)
    return [
        f"not run: {name}: {reason}" + ("" if len(of) == every else f" ({', '.join(of)})")
        for (name, reason), of in whom.items()
    ]


def document(rows: Sequence[Row], accepted: Sequence[Accepted] = ()) -> dict[str, Any]:
    """The same as plain data, by workload."""
    return {
        row.workload: {
            "verdict": word,
            "summary": row.whole.verdict.summary
            if row.whole
            else next(iter(row.reasons.values()), ""),
            "record": row.whole.folder if row.whole else None,
            "labels": {name: _document(row, name, accepted) for name in row.runs},
        }
        for row, word in zip(rows, words(rows, accepted), strict=True)
    }


def _document(row: Row, name: str, accepted: Sequence[Accepted]) -> dict[str, Any]:
    of, ratio = answer(row, name, accepted), _ratio(row, name)
    time = _time(row, name)
    label = of.run.verdict.labels.get(name) if of.run is not None else None
    return {
        "status": label.status if label is not None else of.word or "skipped",
        "agrees": of.word in ("agree", ACCEPTED),
        "word": of.word,
        "first_divergence": of.says if of.word in ("disagree", ACCEPTED) else None,
        "reason": of.reason or None,
        "step_ns": time,
        "ratio": ratio.value if ratio else None,
        "interval": [*ratio.interval] if ratio and ratio.interval else None,
        "records": {str(run.seed): run.folder for run in row.runs[name]},
    }


def _cells(
    row: Row,
    word: str,
    labels: list[str],
    at: Path,
    accepted: Sequence[Accepted],
    one_each: bool,
) -> list[Value]:
    cells: list[Value] = [row.workload]
    cells += [_cell(row, name, answer(row, name, accepted), at) for name in labels]
    cells.append(Cell(word, tone=word))
    whole = row.whole
    return [*cells, whole.record.run if whole else "–"] if one_each else cells


def _cell(row: Row, name: str, of: Answer, at: Path) -> Cell:
    link = ""
    if of.run is not None and of.run.folder:
        link = quote(os.path.relpath(f"{of.run.folder}/report.html", at))
    if not of.word:
        return Cell("–", spoken=of.reason or "not run", link=link)
    mark = MARKS.get(of.word, "≠")
    tone = "inconclusive" if of.word == ACCEPTED else of.word
    text = of.says or _speed(row, name)
    return Cell(f"{mark} {text}".rstrip(), tone=tone, link=link, spoken=of.reason)


def _speed(row: Row, name: str) -> str:
    """A step over the fastest one's; its time where it is too short, or the only one."""
    ratio, time = _ratio(row, name), _time(row, name)
    if ratio is None:
        return duration(time) if time is not None else ""
    ends = [f"{end:.2f}" for end in ratio.interval or ()]
    return f"{ratio.value:.2f}×" + (f" [{', '.join(ends)}]" if ends else "")


def _time(row: Row, name: str) -> int | None:
    label = row.timed.verdict.labels.get(name) if row.timed else None
    return label.step_time.median_ns if label and label.step_time else None


def _ratio(row: Row, name: str) -> Ratio | None:
    """Of a label's step to the fastest of those that agree, where both are long enough."""
    if row.timed is None:
        return None
    times = {
        other: label.step_time.median_ns
        for other, label in row.timed.verdict.labels.items()
        if label.step_time is not None and label.agrees
    }
    if name not in times or len(times) < 2:
        return None
    if any(too_short(row.timed.record, each) for each in times):
        return None
    fastest = min(times, key=times.__getitem__)
    if name == fastest:
        return Ratio(n=1, value=1.0, low=None, high=None, claimable=False)
    return versus(row.timed.record, name, fastest)
