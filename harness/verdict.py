"""A record and the limits -> the verdict: findings of every rung, and verdict.json.

Pure: takes a stored record, starts nothing, reads no clock. The names in verdict.json are fixed;
others read them.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from harness.checks.finding import Finding
from harness.checks.numbers import check_numbers
from harness.checks.outcome import check_accuracy, check_trajectory, trainings
from harness.checks.timing import StepTime, check_timing, step_time
from harness.limits import DECIDING, LIMITS, RUNGS, Limit
from harness.record import FINISHED, INTERRUPTED, DatasetFacts, Number, Process, Record

SCHEMA = 1

Overall = Literal["agree", "disagree", "inconclusive", "failed"]
Status = Literal["ok", "failed", "skipped"]


class LabelVerdict(msgspec.Struct, kw_only=True):
    """One label: how its processes fared, a finding per rung, its step time if it was timed."""

    status: Status
    reason: str | None
    findings: dict[str, Finding]
    step_time: StepTime | None
    process: Process | None

    @property
    def agrees(self) -> bool:
        """Whether every deciding rung agrees (or cannot be judged on this device)."""
        verdicts = [self.findings[rung].verdict for rung in DECIDING if rung in self.findings]
        return bool(verdicts) and all(v in ("agree", "not-possible") for v in verdicts)


class Verdict(msgspec.Struct, kw_only=True):
    """The verdict of a run: one word, one sentence, and what every label showed."""

    verdict: Overall
    summary: str
    labels: dict[str, LabelVerdict]
    first_divergence: dict[str, Any] | None


def judge(record: Record, limits: tuple[Limit, ...] = LIMITS) -> Verdict:
    """The verdict of a record under a table of limits."""
    labels: dict[str, LabelVerdict] = {}
    for label in record.plan.labels:
        results = record.results.get(label)
        processes = results.processes if results else []
        dtype = record.plan.labels[label].dtype
        status, reason = _status(record, processes, dtype)
        findings: dict[str, Finding] = {}
        if results is not None and status != "skipped":
            found = check_numbers(label, record, limits)
            found += [check_trajectory(), check_accuracy(label, record, results)]
            findings = {finding.rung: finding for finding in found}
        main = next((p for p in processes if p.dtype == dtype), None)
        timed = step_time(label, record, main, results) if results and main else None
        labels[label] = LabelVerdict(
            status=status, reason=reason, findings=findings, step_time=timed, process=main
        )
    _rank(record, labels)
    divergence = _first_divergence(labels)
    verdict, summary = _overall(record, labels, divergence)
    return Verdict(verdict=verdict, summary=summary, labels=labels, first_divergence=divergence)


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


def _rank(record: Record, labels: dict[str, LabelVerdict]) -> None:
    """Timing findings: only labels that agree are compared with one another."""
    ranked = {name: v.step_time for name, v in labels.items() if v.step_time and v.agrees}
    for name, label in labels.items():
        if not label.findings:
            continue
        finding = check_timing(name, record, ranked)
        if label.step_time is not None and not label.agrees:
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
        if finding.verdict == "disagree" and finding.first is not None
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
    disagreeing = sorted(
        {
            name
            for name, label in labels.items()
            for finding in label.findings.values()
            if finding.verdict == "disagree"
        }
    )
    wrong = [answer.name for answer in record.known_answers if answer.got != answer.want]
    if wrong:
        return "failed", f"known answers of the shared code are wrong: {', '.join(wrong)}"
    if record.ended not in (FINISHED, INTERRUPTED):
        return "failed", f"the harness itself failed: {record.ended}"
    if failed:
        what = "; ".join(f"{name}: {labels[name].reason}" for name in failed)
        also = f"; disagree: {', '.join(disagreeing)}" if disagreeing else ""
        return "failed", f"{len(failed)} of {len(labels)} backends failed ({what}){also}{notes}"
    if disagreeing:
        told = divergence["sentence"] if divergence else "see the findings"
        others = [name for name in agreeing if name not in disagreeing]
        good = f"; {', '.join(others)} agree" if others else ""
        verb = "disagrees" if len(disagreeing) == 1 else "disagree"
        return "disagree", f"{', '.join(disagreeing)} {verb}: {told}{good}{notes}"
    if record.ended == INTERRUPTED:
        return (
            "inconclusive",
            f"interrupted: {len(agreeing)} of {len(labels)} backends measured whole{notes}",
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
    if undecided:
        notes.append(f"{', '.join(undecided)} inconclusive")
    planted = [f"{name} ({p})" for name, label in record.plan.labels.items() if (p := label.plant)]
    if planted:
        notes.append("FAULT PLANTED in " + ", ".join(planted))
    return "".join(f"; {note}" for note in notes)


def run_status(record: Record) -> int:
    """The exit status of a run that is not judged: 0, 3 failed, 130 interrupted."""
    failed = any(p.status == "failed" for r in record.results.values() for p in r.processes)
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
        "python": facts.get("python"),
        "versions": {
            key.removeprefix("version:"): value
            for key, value in facts.items()
            if key.startswith("version:")
        },
        "rungs": {
            rung: {
                "verdict": finding.verdict,
                "value": finding.value,
                "limit": finding.limit,
                "reason": finding.sentence,
                "measured": finding.measured,
            }
            for rung in RUNGS
            if (finding := label.findings.get(rung)) is not None
        },
        "train_loss": by_seed("epoch_losses"),
        "test_accuracy": by_seed("test_accuracy"),
        "step_time": msgspec.to_builtins(label.step_time) if label.step_time else None,
        "peak_rss_bytes": label.process.peak_rss_bytes if label.process else None,
    }
