"""What explains a stored run's divergences: as the run found it, or from the tensors it kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import InputError
from harness.explain import again
from harness.plan.model import judged_by_label
from harness.record.schema import Explanation, Measurement, Record
from harness.results import kept
from harness.results.kept import Reproduced
from harness.text import clean
from harness.verdict.finding import in_words
from harness.verdict.numbers import limit_of, within
from harness.verdict.verdict import Verdict, first_divergence
from harness.workloads.reference.composed import Composed

# What the judge's pieces raise on tensors that are not of this net.
NOT_ITS_TENSORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What explains a label's divergence; `found` empty: no known convention does.

    `by`: who sought it: the run when it measured, or this call, from the tensors that were kept.
    """

    label: str
    rung: str
    case: str
    sentence: str
    found: list[Explanation]
    by: Literal["the run", "the kept tensors"]


def explain(
    record: Record, verdict: Verdict, folder: Path, labels: Iterable[str] = ()
) -> tuple[list[Told], dict[str, str]]:
    """Each label's first divergence explained, and by label why another's cannot be.

    folder: the run's; labels: only these. InputError where nothing can be told of any.
    """
    for label in labels:
        if label not in verdict.labels:
            known = ", ".join(map(clean, verdict.labels))
            raise InputError(f"no label {clean(label)}: there are {known}")
    found, left = [], {}
    for label in labels or verdict.labels:
        first = first_divergence({label: verdict.labels[label]})
        own = msgspec.structs.replace(verdict, first_divergence=first)
        try:
            if first is not None or labels:
                found.append(_explain(record, own, folder))
        except InputError as error:
            left[label] = str(error)
    if not found:
        raise InputError(next(iter(left.values()), f"nothing to explain: {verdict.verdict}"))
    return found, left


def as_text(found: Iterable[Told], left: dict[str, str]) -> str:
    """The same in lines: what differs, and below it what explains it."""
    lines = []
    for one in found:
        seen = "" if one.by == "the run" else f" (from the tensors kept of {one.rung}, {one.case})"
        lines += [one.sentence, f"  {in_words(one.found)}{seen}"]
    return "\n".join([*lines, *(f"{label}: {why}" for label, why in left.items())])


def _explain(record: Record, own: Verdict, folder: Path) -> Told:
    """One label's, whose divergence is the verdict's first; InputError where there is none."""
    first = own.first_divergence
    if first is None:
        raise InputError("nothing to explain: it does not differ")
    if first.explanation is not None:
        at = {"label": first.label, "rung": first.rung, "case": first.case}
        return Told(**at, sentence=clean(first.sentence), found=first.explanation, by="the run")
    reproduced = kept.find(record, own)
    at = {"label": first.label, "rung": reproduced.at.rung, "case": reproduced.at.case}
    found = _from_tensors(record, folder, reproduced)
    return Told(**at, sentence=reproduced.sentence, found=found, by="the kept tensors")


def _from_tensors(record: Record, folder: Path, reproduced: Reproduced) -> list[Explanation]:
    """What explains it, sought now; InputError where the judge or the tensors are missing."""
    net, workload, at = record.plan.net, record.plan.workload, reproduced.at
    if net is None or judged_by_label(record.plan):
        raise InputError(
            f"{clean(reproduced.label)}: what judged is no net of the harness's own pieces, which "
            "could be computed again"
        )
    tensors = kept.read_tensors(record, folder, reproduced)
    limited = _limited(record, reproduced)
    given, judge, got = tensors.given, Composed(net), tensors.got
    try:
        if at.rung == "lockstep":
            losses = kept.losses(record, reproduced, slice(0, len(given["sizes"])))[::-1]
            return again.of_steps(judge, workload, given, losses, got, limited)
        state = {t.name: given[f"state.{t.name}"] for t in workload.tensors}
        batch = {name: v for name, v in given.items() if not name.startswith("state.")}
        centred = at.case.startswith("shifted")
        return again.of_batch(judge, workload, at.dtype, (state, batch), got, limited, centred)
    except NOT_ITS_TENSORS as error:
        raise InputError(f"tensors {clean(reproduced.kept.file)}: {clean(str(error))}") from None


def _limited(record: Record, reproduced: Reproduced) -> list[tuple[Measurement, float, bool]]:
    """What was measured of what was kept, with limits, and whether it lies within."""
    at = reproduced.at
    steps = at.rung == "lockstep"
    return [
        (m, limit.value, within(m, limit))
        for m in record.results[reproduced.label].measurements
        if m.dtype == at.dtype and (m.rung == "lockstep") == steps
        if (m.step == at.step if steps else m.case == at.case)
        if (limit := limit_of(m, reproduced.precision)) is not None
    ]
