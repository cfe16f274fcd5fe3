"""Which of all findings is told: pure functions of what was seen and found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.pair.comparing import numbers, of_values
from harness.pair.deciding import Finding, Seen
from harness.pair.document import GRADIENTS, SAME, SINGLE, UNTOLD, VALUE, WIDE, Answer
from harness.text import short

# Which answer is told where several questions have one: the first of these.
ORDER: tuple[Answer, ...] = (
    UNTOLD,
    "one does not repeat itself",
    "different functions",
    "precision",
    "different at special points only",
)


def answer(seen: Seen, findings: Sequence[Finding], bits: bool) -> Finding:
    """What all of it comes to: the finding that is told, with the answer and the sentence.

    bits: whether nothing that both gave differs in any bit. Where no output was compared, they are
    not called the same.
    """
    for told in ORDER:
        for finding in findings:
            if finding.answer == told:
                return finding
    by = {finding.question.question: finding for finding in findings}
    counted = by[WIDE].counted | by[SINGLE].counted
    bare = {name: why for name, why in _bare(seen).items() if name not in counted}
    if seen.empty or not counted:
        why = "; ".join(f"{name} {why}" for name, why in bare.items()) or "nothing came out"
        why = "every argument is empty" if seen.empty else why
        return Finding(by[VALUE].question, UNTOLD, f"nothing was compared: {why}")
    a, b = seen.names
    notes = [
        f"{of.question} not asked: {of.note}"
        for of in (by[WIDE].question, by[GRADIENTS].question)
        if of.outcome == "not asked" and (of.question == WIDE or "yes" in of.says.values())
    ]
    notes += [*_kinds(seen), *(f"not compared: {name} {why}" for name, why in bare.items())]
    more = "".join(f"; {note}" for note in notes)
    if bits:
        sentence = f"{a} and {b} give the same bits wherever both were asked{more}"
        return Finding(by[VALUE].question, SAME[0], sentence)
    parts = [
        f"{short(float(of.distance))} in {of.question} (limit {short(float(of.limit))})"
        for of in (by[WIDE].question, by[SINGLE].question)
        if of.distance is not None and of.limit is not None
    ]
    sentence = f"{a} and {b} differ by rounding only: {', '.join(parts)}{more}"
    return Finding(by[VALUE].question, SAME[1], sentence)


def _bare(seen: Seen) -> dict[str, str]:
    """By output, why nothing could be compared in it, if nothing was."""
    found = {}
    for name, value in of_values(numbers(seen.single[seen.names[0]])).items():
        if not value.size:
            found[name] = f"is empty, {value.shape}"
        elif np.isfinite(value).any():
            found[name] = "is other whole numbers wherever an argument is rounded"
        else:
            found[name] = "is NaN everywhere" if np.isnan(value).all() else "has no finite number"
    return found


def _kinds(seen: Seen) -> list[str]:
    """The outputs that are floats, whole numbers or bools on one side, and others on the other."""
    a, b = seen.names
    one, other = (seen.single[name] for name in seen.names)
    return [
        f"value{name} is {one.said.dtypes[name]} by {a}, {other.said.dtypes[name]} by {b}"
        for name in one.values
        if one.values[name].dtype.kind != other.values[name].dtype.kind
    ]
