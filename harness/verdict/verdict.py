"""A record and the limits -> the verdict: findings of every rung, and verdict.json.

Pure: takes a stored record, starts nothing, reads no clock.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.data import title
from harness.record.facts import machine_key, machine_name, versions
from harness.record.schema import (
    FINISHED,
    INTERRUPTED,
    DatasetFacts,
    Explanation,
    LeftBehind,
    Process,
    Record,
    Repeat,
)
from harness.verdict.declared import declared_of, find_gone, look_away
from harness.verdict.document import Dataset, Divergence, Document, Entry, Left, Overall, Status
from harness.verdict.finding import Finding, Part, Rung, agreeing, in_words, void_part
from harness.verdict.hints import find_hint
from harness.verdict.numbers import against_itself, check_rung, check_trajectory
from harness.verdict.operators import OperatorVerdict, judge_operators
from harness.verdict.outcome import ChurnTest, check_accuracy, churn_tests, equivalences, trainings
from harness.verdict.stats import Equivalence
from harness.verdict.timing import check_timing, own_parts
from harness.verdict.timings import StepTime, step_time
from harness.workloads.reference.limits import DECIDING, LIMITS, RUNGS, Limit

# What verdict.json tells of a run as its record has it, and of a label as its plan has it.
OF_THE_RUN = ("run", "started", "seconds", "ended", "harness_version", "failure")
# Why a training cannot go on, in words.
FAILED = {
    "dead": "every output is 0 and every gradient is 0: the model cannot learn",
    "undefined": "an output exceeds 1: the loss is undefined",
}
OF_THE_LABEL = "backend", "device", "dtype", "variant", "precision", "plant", "source", "origin"


class LabelVerdict(msgspec.Struct, kw_only=True):
    """One label: how its processes fared, a finding per rung, its step time if it was timed.

    `equivalence`: the paired tests behind the rung accuracy, by metric; `churn`: predictions
    against the reference's, by seed; `repeats`: each process against itself. `operators`: single
    ones, by name, where they were asked for.
    """

    status: Status
    reason: str | None
    findings: dict[str, Finding] = {}
    step_time: StepTime | None = None
    process: Process | None = None
    equivalence: dict[str, Equivalence] = {}
    churn: list[ChurnTest] = []
    repeats: list[Repeat] = []
    operators: dict[str, OperatorVerdict] = {}

    @property
    def agrees(self) -> bool:
        """Whether every deciding rung agrees, cannot be judged here, or differs as declared."""
        return agreeing(self.findings)

    @property
    def reproducible(self) -> bool | None:
        """Whether every process repeats itself bit for bit; None where that was not measured."""
        return all(repeat.identical for repeat in self.repeats) if self.repeats else None


class Verdict(msgspec.Struct, kw_only=True):
    """The verdict of a run: one word, one sentence, and what every label showed."""

    verdict: Overall
    summary: str
    labels: dict[str, LabelVerdict]
    first_divergence: Divergence | None
    other_limits: str | None = None


def judge(
    record: Record,
    limits: tuple[Limit, ...] = LIMITS,
    other: str | None = None,
    baseline: dict[str, Part] | None = None,
) -> Verdict:
    """The verdict of a record under a table of limits.

    `other`: where that is not the built-in table, what the reader is told of it. `baseline`: what a
    comparison with a baseline says of each label.
    """
    labels = {label: _judge_label(label, record, limits) for label in record.plan.labels}
    find_gone(
        record,
        {name: label.findings for name, label in labels.items()},
        {name: label.operators for name, label in labels.items()},
    )
    _add_timing(record, labels, baseline or {})
    divergence = first_divergence(labels)
    verdict, summary = _overall(record, labels, divergence)
    if verdict == "disagree" and (said := against_itself(record, limits)) is not None:
        verdict = "failed"
        summary = (
            f"the reference {record.plan.reference} disagrees with itself: {said}; nothing that "
            "it judged counts"
        )
    if other is not None:
        summary += f"; judged under OTHER LIMITS ({other})"
    return Verdict(
        verdict=verdict,
        summary=summary,
        labels=labels,
        first_divergence=divergence,
        other_limits=other,
    )


def _judge_label(label: str, record: Record, limits: tuple[Limit, ...]) -> LabelVerdict:
    """One label, but for the rung timing: that compares labels."""
    results = record.results.get(label)
    processes = processes_of(record, label)
    dtype = record.plan.labels[label].dtype
    status, reason = _status(record, processes, dtype)
    main = next((p for p in processes if p.dtype == dtype), None)
    judged = LabelVerdict(status=status, reason=reason, process=main)
    if results is None:
        return judged
    judged.step_time = step_time(label, record, main, results) if main else None
    judged.repeats = results.repeats
    judged.churn = churn_tests(results)
    judged.equivalence = equivalences(label, record, results, limits)
    judged.operators = judge_operators(label, record)
    if status != "skipped":
        findings = [
            *(check_rung(rung, label, record, limits) for rung in DECIDING),
            check_trajectory(label, record, results, limits),
            check_accuracy(label, record, results, judged.equivalence, limits),
        ]
        judged.findings = {finding.rung: finding for finding in findings}
        _explain(label, record, judged.findings, limits)
    return judged


def _explain(
    label: str, record: Record, findings: dict[str, Finding], limits: tuple[Limit, ...]
) -> None:
    """Where a disagreement shows, what was declared beforehand, and what explains it."""
    for finding in findings.values():
        if finding.verdict == "disagree":
            look_away(label, finding, declared_of(record, label, finding.rung))
            finding.hint = find_hint(finding, label, record, limits)
            finding.explanation = _explanation(finding, label, record)


def _explanation(finding: Finding, label: str, record: Record) -> list[Explanation] | None:
    """What the run found for the very batch that a finding names; None: nothing was sought."""
    at = None if finding.first is None else (label, finding.rung, finding.first.where)
    found = (one.found for one in record.explained if (one.label, one.rung, one.case) == at)
    return next(found, None)


def processes_of(record: Record, label: str) -> list[Process]:
    """Every process of a label, of all sessions; the second ones of A against A at the end."""
    measured = [held[label] for held in (record.results, record.again) if label in held]
    return [process for results in measured for process in results.processes]


def left_behind(record: Record, label: str) -> list[tuple[Process, LeftBehind]]:
    """What outlived the processes of a label, with the process that had started it."""
    return [(p, left) for p in processes_of(record, label) for left in p.left_behind]


def _status(record: Record, processes: list[Process], dtype: str) -> tuple[Status, str | None]:
    """A label's status: failed if any process failed, skipped if its own dtype's was."""
    own = [process for process in processes if process.dtype == dtype]
    for status, among in (("failed", processes), ("skipped", own)):
        for process in among:
            if process.status == status:
                return process.status, process.reason
    if own:
        return "ok", None
    if record.ended == FINISHED:
        return "failed", "the record holds nothing of it, though the run is said to be finished"
    return "skipped", "the run ended before it was started"


def _add_timing(record: Record, labels: dict[str, LabelVerdict], baseline: dict[str, Part]) -> None:
    """Timing findings: only labels that agree are compared with one another."""
    own = {name: own_parts(name, record) for name in labels if name in record.results}
    ranked = {
        name: label.step_time
        for name, label in labels.items()
        if label.step_time and label.agrees and void_part(own[name]) is None
    }
    for name, label in labels.items():
        if not label.findings:
            continue
        finding = check_timing(name, record, own[name], ranked, baseline.get(name))
        if label.step_time is not None and not label.agrees and finding.verdict != "disagree":
            finding.verdict = "inconclusive"
            finding.sentence = "not ranked: its numbers do not agree"
        label.findings["timing"] = finding


def _findings(labels: dict[str, LabelVerdict]) -> list[tuple[str, Finding]]:
    """Every finding with its label."""
    return [(name, f) for name, label in labels.items() for f in label.findings.values()]


def first_divergence(labels: dict[str, LabelVerdict]) -> Divergence | None:
    """Lowest rung, then earliest step, over all these labels."""
    divergences = [
        (RUNGS.index(finding.rung), first.step is None, first.step or 0, name, finding, first)
        for name, finding in _findings(labels)
        if finding.counts and (first := finding.first) is not None
    ]
    if not divergences:
        return None
    *_, name, finding, first = min(divergences, key=lambda item: item[:4])
    fields = ("step", "tensor", "index", "expected", "got", "distance", "limit", "dtype", "problem")
    return Divergence(
        label=name,
        rung=finding.rung,
        case=first.where,
        sentence=finding.sentence,
        hint=finding.hint,
        explanation=finding.explanation,
        **{field: getattr(first, field) for field in fields},
    )


def _overall(
    record: Record, labels: dict[str, LabelVerdict], divergence: Divergence | None
) -> tuple[Overall, str]:
    """One word and one sentence."""
    notes = _notes(record, labels)
    compared = {name: label for name, label in labels.items() if label.status != "skipped"}
    failed = {name: label for name, label in labels.items() if label.status == "failed"}
    against = [(name, f.sentence) for name, f in _findings(labels) if f.counts]
    against += [
        (name, f"{name}, operator {operator}: {judged.sentence}")
        for name, label in labels.items()
        for operator, judged in label.operators.items()
        if judged.verdict == "disagree"
    ]
    disagreeing = sorted({name for name, _ in against})
    agreeing = [n for n, label in compared.items() if label.agrees and label.status == "ok"]
    wrong = [answer.name for answer in record.known_answers if answer.got != answer.want]
    if wrong:
        return "failed", f"known answers of the shared code are wrong: {', '.join(wrong)}"
    if record.ended not in (FINISHED, INTERRUPTED):
        return "failed", f"the run was stopped: {record.ended}"
    if failed:
        what = "; ".join(f"{name}: {label.reason}" for name, label in failed.items())
        also = f"; disagree: {', '.join(disagreeing)}" if disagreeing else ""
        return "failed", f"{len(failed)} of {len(labels)} backends failed ({what}){also}{notes}"
    if disagreeing:
        said = divergence.sentence if divergence else against[0][1]
        known = (in_words(divergence.explanation), divergence.hint) if divergence else ()
        hint = f" ({'; '.join(filter(None, known))})" if any(known) else ""
        others = [name for name in agreeing if name not in disagreeing]
        good = f"; {', '.join(others)} agree" if others else ""
        verb = "disagrees" if len(disagreeing) == 1 else "disagree"
        return "disagree", f"{', '.join(disagreeing)} {verb}: {said}{hint}{good}{notes}"
    if record.ended == INTERRUPTED:
        count = f"{len(agreeing)} of {len(labels)}"
        return "inconclusive", f"interrupted: {count} backends agree up to lockstep{notes}"
    if not compared:
        return "inconclusive", f"nothing was compared{notes}"
    not_judged = [
        f"{name} {rung}"
        for name, label in compared.items()
        for rung in DECIDING
        if label.findings[rung].verdict == "inconclusive"
    ]
    if not_judged:
        return "inconclusive", f"not judged: {', '.join(not_judged)}{notes}"
    count = f"{len(compared)} of {len(labels)} backends"
    return "agree", f"{count} compute the same as {record.plan.reference}{notes}"


def _notes(record: Record, labels: dict[str, LabelVerdict]) -> str:
    """What a reader of the one sentence must also know."""
    findings = _findings(labels)
    undecided = []
    for rung in (rung for rung in RUNGS if rung not in DECIDING):
        told = [name for name, finding in findings if finding.rung == rung]
        of = [n for n, f in findings if f.rung == rung and f.verdict == "inconclusive"]
        undecided += [rung if len(of) == len(told) else f"{rung} of {' and '.join(of)}"] * bool(of)
    synthetic = record.dataset is not None and record.dataset.synthetic
    skipped = [(name, label) for name, label in labels.items() if label.status == "skipped"]
    known = [(name, finding) for name, finding in findings if finding.expected is not None]
    impossible = [(name, f) for name, f in findings if f.verdict == "not-possible"]
    unsteady = [name for name, label in labels.items() if label.reproducible is False]
    planted = [f"{name} ({p})" for name, label in record.plan.labels.items() if (p := label.plant)]
    notes = (
        ("{}", how_it_failed(record) or ""),
        ("{}", f"SYNTHETIC data, not {title(record.plan.workload.data)}" if synthetic else ""),
        ("skipped: {}", "; ".join(f"{name} ({label.reason})" for name, label in skipped)),
        ("differs as declared: {}", ", ".join(f"{n} {f.rung} ({f.expected})" for n, f in known)),
        ("not possible: {}", ", ".join(f"{n} {f.rung} ({f.sentence})" for n, f in impossible)),
        (
            "processes left behind, and ended: {}",
            ", ".join(name for name in labels if left_behind(record, name)),
        ),
        ("not deterministic: {}", ", ".join(unsteady)),
        ("{} inconclusive", ", ".join(undecided)),
        ("FAULT PLANTED in {}", ", ".join(planted)),
    )
    return "".join(f"; {form.format(text)}" for form, text in notes if text)


def how_it_failed(record: Record) -> str | None:
    """Why a training cannot go on, and from where; None where its model cannot fail."""
    net, failure = record.plan.net, record.failure
    if net is None or not net.can_fail or record.plan.steps is not None:
        return None
    if failure is None:
        return f"no failure in {record.plan.workload.epochs} epochs"
    return f"at step {failure.step} {FAILED[failure.kind]} (compared up to there)"


def run_status(record: Record) -> int:
    """The exit status of a run that is not judged: 0, 3 failed, 130 interrupted."""
    processes = [p for label in record.results for p in processes_of(record, label)]
    failed = any(process.status == "failed" for process in processes)
    if failed or record.ended not in (FINISHED, INTERRUPTED):
        return 3
    return 130 if record.ended == INTERRUPTED else 0


def why_failed(record: Record) -> str:
    """Why `run_status` is not 0, in one line: of processes each reason once, or how it ended."""
    if record.ended not in (FINISHED, INTERRUPTED):
        return record.ended
    reasons = [
        f"{label}: {process.reason}"
        for label in record.results
        for process in processes_of(record, label)
        if process.status == "failed"
    ]
    return "; ".join(dict.fromkeys(reasons)) or record.ended


def exit_status(record: Record, verdict: Verdict, *, strict: bool = False) -> int:
    """0 agree, 1 disagree (or inconclusive with `strict`), 3 failed, 130 interrupted."""
    if verdict.verdict == "failed":
        return 3
    if status := run_status(record):
        return status
    if verdict.verdict == "disagree" or (strict and verdict.verdict == "inconclusive"):
        return 1
    return 0


def to_json(record: Record, verdict: Verdict, record_path: str) -> dict[str, Any]:
    """verdict.json as plain data."""
    return document(record, verdict, record_path).plain()


def document(record: Record, verdict: Verdict, record_path: str) -> Document:
    """verdict.json of a run whose folder is `record_path`."""
    dataset = record.dataset or DatasetFacts(
        name=record.plan.dataset, synthetic=False, sha256="", train=0, test=0, source="not loaded"
    )
    plan = record.plan
    return Document(
        verdict=verdict.verdict,
        summary=verdict.summary,
        machine=machine_name(machine_key(record)),
        processor=record.machine.get("processor", ""),
        threads=plan.threads,
        profile=plan.profile,
        workload=plan.workload.name,
        dataset=msgspec.convert(dataset, Dataset, from_attributes=True),
        reference=plan.reference,
        record=record_path,
        backends={name: _entry(record, name, label) for name, label in verdict.labels.items()},
        first_divergence=verdict.first_divergence,
        other_limits=verdict.other_limits,
        operators={n: label.operators for n, label in verdict.labels.items() if label.operators},
        **{name: getattr(record, name) for name in OF_THE_RUN},
    )


def _entry(record: Record, name: str, label: LabelVerdict) -> Entry:
    configured, process = record.plan.labels[name], label.process
    facts = process.facts if process else {}
    results = record.results.get(name)
    trained = trainings(results, configured.dtype) if results else []
    return Entry(
        status=label.status,
        reason=label.reason,
        interpreter=configured.python,
        python=facts.get("python"),
        versions=versions(facts),
        rungs={
            rung: msgspec.convert(label.findings[rung], Rung, from_attributes=True)
            for rung in RUNGS
            if rung in label.findings
        },
        equivalence=label.equivalence,
        churn=label.churn,
        reproducible=label.reproducible,
        repeats=label.repeats,
        train_loss={str(t.seed): t.epoch_losses for t in trained},
        test_accuracy={str(t.seed): t.test_accuracy for t in trained},
        step_time=label.step_time,
        peak_rss_bytes=process.peak_rss_bytes if process else None,
        peak_device_bytes=process.peak_device_bytes if process else None,
        left_behind=[
            Left(dtype=p.dtype, session=p.session, command=left.command, cpu_ns=left.cpu_ns)
            for p, left in left_behind(record, name)
        ],
        **{field: getattr(configured, field) for field in OF_THE_LABEL},
    )


def agreement(label: LabelVerdict) -> str:
    """The agreement that must stand beside a time."""
    if void_part(timing_parts(label)) is not None:
        return "NOT RANKED: the times are void"
    return "agree" if label.agrees else "NOT RANKED: do not agree"


def timing_parts(label: LabelVerdict) -> list[Part]:
    """The parts of a label's rung timing."""
    timing = label.findings.get("timing")
    return timing.parts if timing is not None else []
