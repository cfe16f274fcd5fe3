"""A record and the limits -> the verdict: findings of every rung, and verdict.json.

Pure: takes a stored record, starts nothing, reads no clock. The names in verdict.json are fixed;
others read them.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from harness.record.facts import machine_key, machine_name, versions
from harness.record.schema import (
    FINISHED,
    INTERRUPTED,
    DatasetFacts,
    LeftBehind,
    Number,
    Process,
    Record,
    Repeat,
    Results,
)
from harness.verdict.finding import Finding, Part
from harness.verdict.hints import find_hint
from harness.verdict.numbers import check_numbers
from harness.verdict.outcome import ChurnTest, check_accuracy, churn_tests, equivalences, trainings
from harness.verdict.stats import Equivalence
from harness.verdict.timing import check_timing, is_void, void_part
from harness.verdict.timings import StepTime, step_time
from harness.verdict.trajectory import check_trajectory
from harness.workloads.reference.limits import DECIDING, LIMITS, RUNGS, Limit

SCHEMA = 1

Overall = Literal["agree", "disagree", "inconclusive", "failed"]
Status = Literal["ok", "failed", "skipped"]


class LabelVerdict(msgspec.Struct, kw_only=True):
    """One label: how its processes fared, a finding per rung, its step time if it was timed.

    `equivalence`: the paired tests behind the rung accuracy, by metric; `churn`: predictions
    against the reference's, by seed; `repeats`: each process against itself.
    """

    status: Status
    reason: str | None
    findings: dict[str, Finding]
    step_time: StepTime | None
    process: Process | None
    equivalence: dict[str, Equivalence] = {}
    churn: list[ChurnTest] = []
    repeats: list[Repeat] = []

    @property
    def agrees(self) -> bool:
        """Whether every deciding rung agrees, cannot be judged here, or differs as declared."""
        found = [self.findings[rung] for rung in DECIDING if rung in self.findings]
        return bool(found) and all(
            f.verdict in ("agree", "not-possible") or f.expected is not None for f in found
        )

    @property
    def reproducible(self) -> bool | None:
        """Whether every process repeats itself bit for bit; None where that was not measured."""
        return all(repeat.identical for repeat in self.repeats) if self.repeats else None


class Verdict(msgspec.Struct, kw_only=True):
    """The verdict of a run: one word, one sentence, and what every label showed."""

    verdict: Overall
    summary: str
    labels: dict[str, LabelVerdict]
    first_divergence: dict[str, Any] | None
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
    labels: dict[str, LabelVerdict] = {}
    for label in record.plan.labels:
        results = record.results.get(label)
        processes = processes_of(record, label)
        dtype = record.plan.labels[label].dtype
        status, reason = _status(record, processes, dtype)
        main = next((p for p in processes if p.dtype == dtype), None)
        labels[label] = judged = LabelVerdict(
            status=status, reason=reason, findings={}, step_time=None, process=main
        )
        if results is None:
            continue
        judged.step_time = step_time(label, record, main, results) if main else None
        judged.repeats = results.repeats
        judged.churn = churn_tests(results)
        judged.equivalence = equivalences(label, record, results, limits)
        if status != "skipped":
            judged.findings = _findings(label, record, results, judged.equivalence, limits)
    _rank(record, labels, baseline or {})
    divergence = _first_divergence(labels)
    verdict, summary = _overall(record, labels, divergence)
    if other is not None:
        summary += f"; judged under OTHER LIMITS ({other})"
    return Verdict(
        verdict=verdict,
        summary=summary,
        labels=labels,
        first_divergence=divergence,
        other_limits=other,
    )


def _findings(
    label: str,
    record: Record,
    results: Results,
    tests: dict[str, Equivalence],
    limits: tuple[Limit, ...],
) -> dict[str, Finding]:
    """Every rung of one label but timing, with what was declared beforehand."""
    found = check_numbers(label, record, limits)
    found.append(check_trajectory(label, record, results, limits))
    found.append(check_accuracy(label, record, results, tests, limits))
    findings = {finding.rung: finding for finding in found}
    for finding in found:
        if finding.verdict == "disagree":
            finding.hint = find_hint(finding, label, record, limits)
    declared = {known.rung: known.reason for known in record.plan.expect if known.label == label}
    for rung, reason in declared.items():
        if rung in findings:
            _apply_expectation(findings[rung], label, reason)
    return findings


def _apply_expectation(finding: Finding, label: str, reason: str) -> None:
    """A declared difference does not count; one that has vanished does."""
    if finding.verdict == "disagree":
        finding.expected = reason
    elif finding.verdict == "agree":
        finding.verdict = "disagree"
        finding.sentence = (
            f"{label}, {finding.rung}: a difference was declared ({reason}) and there is none: "
            "take the declaration back"
        )


def processes_of(record: Record, label: str) -> list[Process]:
    """Every process of a label, of all sessions; the second ones of A against A at the end."""
    found = [arm[label] for arm in (record.results, record.again) if label in arm]
    return [process for results in found for process in results.processes]


def left_behind(record: Record, label: str) -> list[tuple[Process, LeftBehind]]:
    """What outlived the processes of a label, with the process that had started it."""
    return [(p, left) for p in processes_of(record, label) for left in p.left_behind]


def _status(record: Record, processes: list[Process], dtype: str) -> tuple[Status, str | None]:
    """A label's status: failed if any process failed, skipped if its own dtype's was."""
    for process in processes:
        if process.status == "failed":
            return "failed", process.reason
    for process in processes:
        if process.status == "skipped" and process.dtype == dtype:
            return "skipped", process.reason
    if any(process.dtype == dtype for process in processes):
        return "ok", None
    if record.ended == FINISHED:
        return "failed", "the record holds nothing of it, though the run is said to be finished"
    return "skipped", "the run ended before it was started"


def _rank(record: Record, labels: dict[str, LabelVerdict], baseline: dict[str, Part]) -> None:
    """Timing findings: only labels that agree are compared with one another."""
    ranked = {
        name: v.step_time
        for name, v in labels.items()
        if v.step_time and v.agrees and not is_void(name, record)
    }
    for name, label in labels.items():
        if not label.findings:
            continue
        finding = check_timing(name, record, ranked, baseline.get(name))
        if label.step_time is not None and not label.agrees and finding.verdict != "disagree":
            finding.verdict = "inconclusive"
            finding.sentence = "not ranked: its numbers do not agree"
        label.findings["timing"] = finding


def _first_divergence(labels: dict[str, LabelVerdict]) -> dict[str, Any] | None:
    """Lowest rung, then earliest step, over all labels."""
    found = [
        (
            RUNGS.index(finding.rung),
            finding.first.step is None,
            finding.first.step or 0,
            name,
            finding,
        )
        for name, label in labels.items()
        for finding in label.findings.values()
        if finding.counts and finding.first is not None
    ]
    if not found:
        return None
    *_, name, finding = min(found, key=lambda item: item[:4])
    first = finding.first
    assert first is not None
    return {
        "label": name,
        "rung": finding.rung,
        "step": first.step,
        "tensor": first.tensor,
        "index": first.index,
        "expected": first.expected,
        "got": first.got,
        "distance": first.distance,
        "limit": first.limit,
        "case": first.where,
        "dtype": first.dtype,
        "problem": first.problem,
        "sentence": finding.sentence,
        "hint": finding.hint,
    }


def _overall(
    record: Record, labels: dict[str, LabelVerdict], divergence: dict[str, Any] | None
) -> tuple[Overall, str]:
    """One word and one sentence."""
    compared = [name for name, label in labels.items() if label.status != "skipped"]
    agreeing = [name for name in compared if labels[name].agrees and labels[name].status == "ok"]
    count = f"{len(compared)} of {len(labels)} backends"
    notes = _notes(record, labels)
    failed = [name for name, label in labels.items() if label.status == "failed"]
    against = [
        (name, finding)
        for name, label in labels.items()
        for finding in label.findings.values()
        if finding.counts
    ]
    disagreeing = sorted({name for name, _ in against})
    wrong = [answer.name for answer in record.known_answers if answer.got != answer.want]
    if wrong:
        return "failed", f"known answers of the shared code are wrong: {', '.join(wrong)}"
    if record.ended not in (FINISHED, INTERRUPTED):
        return "failed", f"the run was stopped: {record.ended}"
    if failed:
        what = "; ".join(f"{name}: {labels[name].reason}" for name in failed)
        also = f"; disagree: {', '.join(disagreeing)}" if disagreeing else ""
        return "failed", f"{len(failed)} of {len(labels)} backends failed ({what}){also}{notes}"
    if disagreeing:
        told = divergence["sentence"] if divergence else against[0][1].sentence
        if divergence and divergence["hint"]:
            told += f" ({divergence['hint']})"
        others = [name for name in agreeing if name not in disagreeing]
        good = f"; {', '.join(others)} agree" if others else ""
        verb = "disagrees" if len(disagreeing) == 1 else "disagree"
        return "disagree", f"{', '.join(disagreeing)} {verb}: {told}{good}{notes}"
    if record.ended == INTERRUPTED:
        return (
            "inconclusive",
            f"interrupted: {len(agreeing)} of {len(labels)} backends agree up to lockstep{notes}",
        )
    if not compared:
        return "inconclusive", f"nothing was compared{notes}"
    open_ = [
        f"{name} {rung}"
        for name in compared
        for rung in DECIDING
        if labels[name].findings[rung].verdict == "inconclusive"
    ]
    if open_:
        return "inconclusive", f"not judged: {', '.join(open_)}{notes}"
    return "agree", f"{count} compute the same as {record.plan.reference}{notes}"


def _notes(record: Record, labels: dict[str, LabelVerdict]) -> str:
    """What a reader of the one sentence must also know."""
    notes = []
    if record.dataset is not None and record.dataset.synthetic:
        notes.append("SYNTHETIC data, not Fashion-MNIST")
    skipped = [
        f"{name} ({label.reason})" for name, label in labels.items() if label.status == "skipped"
    ]
    if skipped:
        notes.append("skipped: " + "; ".join(skipped))
    later = [rung for rung in RUNGS if rung not in DECIDING]
    undecided = [
        rung
        for rung in later
        if any(
            rung in label.findings and label.findings[rung].verdict == "inconclusive"
            for label in labels.values()
        )
    ]
    known = [
        f"{name} {finding.rung} ({finding.expected})"
        for name, label in labels.items()
        for finding in label.findings.values()
        if finding.expected is not None
    ]
    if known:
        notes.append("differs as declared: " + ", ".join(known))
    impossible_here = [
        f"{name} {rung} ({finding.sentence})"
        for name, label in labels.items()
        for rung, finding in label.findings.items()
        if finding.verdict == "not-possible"
    ]
    if impossible_here:
        notes.append("not possible: " + ", ".join(impossible_here))
    leaving = [name for name in labels if left_behind(record, name)]
    if leaving:
        notes.append(f"processes left behind, and ended: {', '.join(leaving)}")
    wavering = [name for name, label in labels.items() if label.reproducible is False]
    if wavering:
        notes.append(f"not deterministic: {', '.join(wavering)}")
    if undecided:
        notes.append(f"{', '.join(undecided)} inconclusive")
    planted = [f"{name} ({p})" for name, label in record.plan.labels.items() if (p := label.plant)]
    if planted:
        notes.append("FAULT PLANTED in " + ", ".join(planted))
    return "".join(f"; {note}" for note in notes)


def run_status(record: Record) -> int:
    """The exit status of a run that is not judged: 0, 3 failed, 130 interrupted."""
    processes = [p for label in record.results for p in processes_of(record, label)]
    failed = any(process.status == "failed" for process in processes)
    if failed or record.ended not in (FINISHED, INTERRUPTED):
        return 3
    return 130 if record.ended == INTERRUPTED else 0


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
    """verdict.json, schema 1, as plain data."""
    dataset = record.dataset or DatasetFacts(
        name=record.plan.dataset, synthetic=False, sha256="", train=0, test=0, source="not loaded"
    )
    return {
        "schema": SCHEMA,
        "verdict": verdict.verdict,
        "summary": verdict.summary,
        "run": record.run,
        "started": record.started,
        "seconds": record.seconds,
        "ended": record.ended,
        "harness_version": record.harness_version,
        "machine": machine_name(machine_key(record)),
        "processor": record.machine.get("processor", ""),
        "threads": record.plan.threads,
        "profile": record.plan.profile,
        "workload": record.plan.workload.name,
        "dataset": {
            "name": dataset.name,
            "synthetic": dataset.synthetic,
            "sha256": dataset.sha256,
            "train": dataset.train,
            "test": dataset.test,
        },
        "reference": record.plan.reference,
        "record": record_path,
        "backends": {
            name: _label_json(record, name, label) for name, label in verdict.labels.items()
        },
        "first_divergence": verdict.first_divergence,
        "other_limits": verdict.other_limits,
    }


def _label_json(record: Record, name: str, label: LabelVerdict) -> dict[str, Any]:
    configured = record.plan.labels[name]
    facts = label.process.facts if label.process else {}
    results = record.results.get(name)
    trained = trainings(results, configured.dtype) if results else []

    def by_seed(field: str) -> dict[str, list[Number]]:
        return {str(t.seed): getattr(t, field) for t in trained}

    return {
        "status": label.status,
        "reason": label.reason,
        "backend": configured.backend,
        "device": configured.device,
        "dtype": configured.dtype,
        "variant": configured.variant,
        "precision": configured.precision,
        "plant": configured.plant,
        "source": configured.source,
        "origin": configured.origin,
        "interpreter": configured.python,
        "python": facts.get("python"),
        "versions": versions(facts),
        "rungs": {
            rung: {
                "verdict": finding.verdict,
                "value": finding.value,
                "limit": finding.limit,
                "reason": finding.sentence,
                "measured": finding.measured,
                "hint": finding.hint,
                "expected": finding.expected,
                **({"parts": msgspec.to_builtins(finding.parts)} if finding.parts else {}),
            }
            for rung in RUNGS
            if (finding := label.findings.get(rung)) is not None
        },
        "equivalence": msgspec.to_builtins(label.equivalence),
        "churn": msgspec.to_builtins(label.churn),
        "reproducible": label.reproducible,
        "repeats": msgspec.to_builtins(label.repeats),
        "train_loss": by_seed("epoch_losses"),
        "test_accuracy": by_seed("test_accuracy"),
        "step_time": msgspec.to_builtins(label.step_time) if label.step_time else None,
        "peak_rss_bytes": label.process.peak_rss_bytes if label.process else None,
        "peak_device_bytes": label.process.peak_device_bytes if label.process else None,
        "left_behind": [
            {"dtype": process.dtype, "session": process.session} | msgspec.to_builtins(left)
            for process, left in left_behind(record, name)
        ],
    }


def agreement(label: LabelVerdict) -> str:
    """The agreement that must stand beside a time."""
    if void_part(timing_parts(label)) is not None:
        return "NOT RANKED: the times are void"
    return "agree" if label.agrees else "NOT RANKED: do not agree"


def timing_parts(label: LabelVerdict) -> list[Part]:
    """The parts of a label's rung timing."""
    timing = label.findings.get("timing")
    return timing.parts if timing is not None else []
