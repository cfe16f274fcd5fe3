"""Verdicts as JUnit XML, for CI systems: a suite a run, a case a label and rung, or operator.

Agreement passes, disagreement is a failure that holds the evidence; what was not judged, is not
possible or was skipped counts as skipped, and what a failed worker left unmeasured is an error. A
further case, "finished", stands for the run itself. So a suite has a failure or an error exactly
where the verdict is disagree or failed. Valid by the schema of Jenkins' xUnit plug-in (junit-10).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from harness.export.shown import LeftOut, Run, distinct, line
from harness.record.schema import FINISHED, INTERRUPTED
from harness.text import exact, short
from harness.verdict.finding import Finding
from harness.verdict.operators import OperatorVerdict
from harness.verdict.verdict import LabelVerdict, processes_of
from harness.workloads.reference.limits import RUNGS

# What a case may have come to, but for having passed; the names are those of the XML elements.
OUTCOMES = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def render(runs: Sequence[Run]) -> tuple[str, list[LeftOut]]:
    """The XML text, a suite a run; nothing is left out."""
    root = ET.Element("testsuites", name="framework-harness")
    for run in runs:
        root.append(_suite(run))
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n', []


def _suite(run: Run) -> ET.Element:
    record = run.record
    suite = ET.Element("testsuite", name=line(f"{record.plan.workload.name}, run {record.run}"))
    properties = ET.SubElement(suite, "properties")
    data = record.dataset.name if record.dataset else ""
    facts = {
        "verdict": run.verdict.verdict,
        "summary": run.verdict.summary,
        "profile": record.plan.profile,
        "dataset": data,
        "reference": record.plan.reference,
        "harness": record.harness_version,
    }
    for key, value in (facts | {f"machine: {k}": v for k, v in record.machine.items()}).items():
        ET.SubElement(properties, "property", name=line(key), value=line(value))
    suite.append(_finished(run))
    names = distinct(run.verdict.labels)
    for name, label in run.verdict.labels.items():
        failed = [p for p in processes_of(record, name) if p.status == "failed"]
        tail = failed[0].stderr_tail.splitlines() if failed else []
        suite.extend(_cases(names[name], label, tail))
        suite.extend(_operator(names[name], *pair) for pair in label.operators.items())
    suite.set("tests", str(len(suite.findall("testcase"))))
    for count, outcome in OUTCOMES.items():
        suite.set(count, str(len(suite.findall(f"testcase/{outcome}"))))
    suite.set("timestamp", line(record.started))
    # At most three decimals and no sign, by the schema.
    suite.set("time", f"{max(record.seconds, 0.0):.3f}")
    return suite


def _finished(run: Run) -> ET.Element:
    """The case of the run itself: what no label shows."""
    case = ET.Element("testcase", classname="run", name="finished")
    wrong = [a.name for a in run.record.known_answers if a.got != a.want]
    if wrong:
        _add(case, "error", f"known answers of the shared code are wrong: {', '.join(wrong)}")
    elif run.record.ended == INTERRUPTED:
        _add(case, "skipped", "the run was interrupted")
    elif run.record.ended != FINISHED:
        _add(case, "error", f"the run was stopped: {run.record.ended}")
    ET.SubElement(case, "system-out").text = line(run.verdict.summary)
    return case


def _cases(name: str, label: LabelVerdict, tail: list[str]) -> list[ET.Element]:
    """A case a rung; of a label that failed at least one is an error, with the reason.

    tail: the last lines that a failed worker wrote to stderr.
    """
    cases = []
    for rung in RUNGS:
        case = ET.Element("testcase", classname=name, name=rung)
        _judge(case, label, label.findings.get(rung), tail)
        cases.append(case)
    if label.status == "failed" and not any(case.find("error") is not None for case in cases):
        # Every rung was measured before it failed: the last that passed stands for it.
        passed = [case for case in cases if not any(map(case.findall, OUTCOMES.values()))]
        _add((passed or cases)[-1], "error", f"failed: {label.reason}", tail)
    return cases


def _operator(name: str, operator: str, judged: OperatorVerdict) -> ET.Element:
    """The case of a single operator."""
    case = ET.Element("testcase", classname=name, name=line(f"operator {operator}"))
    if judged.verdict == "disagree":
        _add(case, "failure", judged.sentence)
    elif judged.verdict == "agree":
        ET.SubElement(case, "system-out").text = line(judged.sentence)
    else:
        _add(case, "skipped", f"{judged.verdict}: {judged.sentence}")
    return case


def _judge(case: ET.Element, label: LabelVerdict, finding: Finding | None, tail: list[str]) -> None:
    """Puts into a case what became of its rung."""
    if finding is not None and finding.counts:
        message = "; ".join(filter(None, (finding.sentence, finding.explained)))
        _add(case, "failure", message, _evidence(finding))
    elif finding is not None and finding.verdict in ("agree", "disagree"):
        known = f"differs as declared: {finding.expected}; " if finding.expected else ""
        ET.SubElement(case, "system-out").text = line(
            f"{known}{finding.sentence} (value {short(finding.value)}, "
            f"limit {short(finding.limit)})"
        )
    elif finding is not None and finding.verdict == "not-possible":
        _add(case, "skipped", f"not possible: {finding.sentence}")
    elif label.status == "failed":
        _add(case, "error", f"failed: {label.reason}", tail)
    elif finding is None:
        _add(case, "skipped", f"{label.status}: {label.reason}")
    else:
        _add(case, "skipped", f"inconclusive: {finding.sentence}")


def _evidence(finding: Finding) -> list[str]:
    """What the first divergence is, a line a fact."""
    first = finding.first
    if first is None:
        return [finding.sentence, *(part.sentence for part in finding.parts)]
    facts = {
        "rung": finding.rung,
        "batch": first.where,
        "step": first.step,
        "dtype": first.dtype,
        "tensor": first.tensor,
        "element": first.index,
        "got": first.got,
        "want": first.expected,
        "problem": first.problem,
        "distance": first.distance,
        "limit": first.limit,
        "limit because": first.why,
        "explanation": finding.explained,
        "hint": finding.hint,
    }
    exactly = {what: exact(v) if isinstance(v, float) else v for what, v in facts.items()}
    told = [f"{what}: {value}" for what, value in exactly.items() if value is not None]
    return [finding.sentence, "", *told]


def _add(case: ET.Element, outcome: str, message: str, lines: Sequence[str] = ()) -> None:
    """Every text passes `line`: XML takes no control characters, not even as entities."""
    element = ET.SubElement(case, outcome, message=line(message), type=outcome)
    element.text = "\n".join(line(text) for text in lines) or None
