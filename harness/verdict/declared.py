"""Differences that the user declared (`--expect`): not counted, and each must be there."""

from __future__ import annotations

from collections.abc import Mapping

from harness.plan.model import Expected
from harness.record.schema import Record
from harness.text import fits
from harness.verdict.finding import Finding
from harness.verdict.numbers import sentence_for
from harness.verdict.operators import OperatorVerdict

GONE = "take the declaration back"


def declared_of(record: Record, label: str, rung: str) -> list[Expected]:
    """What was declared of a label's rung, or operator."""
    return [e for e in record.plan.expect if e.rung == rung and fits(label, e.label)]


def look_away(label: str, finding: Finding, declared: list[Expected]) -> None:
    """Let a finding tell of the first tensor that is off and was not declared, if there is one.

    Where all were declared it does not count: their reasons are its `expected`.
    """
    off = finding.off
    used = [e for e in declared if any(fits(tensor, e.tensor) for tensor in off)]
    if not used:
        return
    left = [at for name, at in off.items() if not any(fits(name, e.tensor) for e in used)]
    reasons = "; ".join(dict.fromkeys(e.reason for e in used))
    if not left:
        finding.expected = reasons
    elif finding.first is not left[0]:
        finding.first = finding.evidence = at = left[0]
        finding.value, finding.limit = at.distance, at.limit
        finding.sentence = f"{label}, {sentence_for(finding.rung, at)}"


def find_gone(
    record: Record,
    findings: Mapping[str, Mapping[str, Finding]],
    operators: Mapping[str, Mapping[str, OperatorVerdict]],
) -> None:
    """A declared difference that no label has any more is one, at the first label that may.

    findings: by label and rung; operators: by label and name.
    """
    for known in record.plan.expect:
        names = [name for name in findings if fits(name, known.label)]
        judged = [of for name in names if (of := operators[name].get(known.rung)) is not None]
        if judged:
            judged = [of for of in judged if of.verdict in ("agree", "disagree")]
            if judged and not any(u.expected == known.reason for o in judged for u in o.differs):
                judged[0].missed(f"a difference was declared ({known.reason}): {GONE}")
            continue
        found = [(n, f) for n in names if (f := findings[n].get(known.rung)) is not None]
        found = [(n, f) for n, f in found if f.verdict in ("agree", "disagree")]
        if found and not any(fits(tensor, known.tensor) for _, f in found for tensor in f.off):
            where = "" if known.tensor == "*" else f" of {known.tensor}"
            said = f"a difference{where} was declared ({known.reason}) and there is none: {GONE}"
            _tell(*found[0], said)


def _tell(label: str, finding: Finding, said: str) -> None:
    """Beside what counts already; else it is what counts."""
    if finding.counts:
        finding.sentence += f"; and {said}"
    else:
        finding.verdict, finding.expected, finding.first = "disagree", None, None
        finding.sentence = f"{label}, {finding.rung}: {said}"
