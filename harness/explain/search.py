"""Asks every hypothesis of the rung that fails, and keeps those that explain all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from harness.explain.hypothesis import Hypothesis, Looked, Prediction
from harness.explain.table import TABLE
from harness.record.schema import Explanation, number

# Names of tensors that a sentence lists.
LISTED = 4


class Part(NamedTuple):
    """A hypothesis with its prediction, and what of the failing tensors that gives: by key."""

    hypothesis: Hypothesis
    prediction: Prediction
    left: dict[str, float]


# One hypothesis that gives all that is off, or two that do together.
Found = tuple[Part, ...]


def find(looked: Looked, among: Collection[str] | None = None) -> list[Found]:
    """Every explanation of what is off; two hypotheses together only where none does alone.

    among: the hypotheses to ask, all by default; where they were named before, numbers may be less
    sure than to be told.
    """
    keys = tuple(looked.off)
    # Of another shape, or not finite elsewhere: no formula gives that.
    if not keys or any(one.measurement.distance is None for one in looked.off.values()):
        return []
    parts = [*_parts(looked, keys, among)]
    if not (whole := _whole(parts, keys)):
        # Numbers may differ from tensor to tensor.
        parts += _parts(looked, _alike(keys), among)
        whole = _whole(parts, keys)
    return _distinct(whole or _pairs(looked, parts, keys, among))


def _whole(parts: Iterable[Part], keys: Sequence[str]) -> list[Found]:
    return [(part,) for part in parts if len(part.left) == len(keys)]


def _pairs(
    looked: Looked, parts: Iterable[Part], keys: Sequence[str], among: Collection[str] | None
) -> list[Found]:
    found: list[Found] = []
    others: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        rest = tuple(key for key in keys if key not in part.left)
        if rest not in others:
            others[rest] = [*_parts(looked, rest, among)]
        for other in others[rest]:
            own = {key: left for key, left in other.left.items() if key in rest}
            if len(own) == len(rest) and not _same((part,), (other,)):
                found.append((part, other._replace(left=own)))
    return found


def _alike(keys: Sequence[str]) -> tuple[str, ...]:
    """The first key, and those of the same tensor or of the same loss."""
    first = keys[0]
    if first in ("loss", "step loss"):
        return tuple(key for key in keys if key in ("loss", "step loss"))
    return tuple(key for key in keys if key.partition("/")[0] == first.partition("/")[0])


def _parts(looked: Looked, sites: Sequence[str], among: Collection[str] | None) -> Iterator[Part]:
    """Every prediction that gives what stands under the first of these keys.

    What a number is fitted to is no evidence: more must be given than numbers are fitted.
    """
    rungs = {looked.off[key].measurement.rung for key in sites}
    for hypothesis in TABLE:
        if rungs & {*hypothesis.rungs} and (among is None or hypothesis.id in among):
            for prediction in hypothesis.predict(looked, sites):
                if among is None and not all(one.sure for one in prediction.numbers):
                    continue
                left = _left(looked, prediction)
                if sites[0] in left and looked.size([*left]) > len(prediction.numbers):
                    # Of a large net what it predicts takes hundreds of megabytes.
                    yield Part(hypothesis, prediction._replace(values={}), left)


def _left(looked: Looked, prediction: Prediction) -> dict[str, float]:
    """What is left of each that is off and that a prediction gives.

    A tensor belongs with its slots, a loss with its gradients: what is wrong of one of them, which
    are within their limits, tells nothing of the others.
    """
    left, wrong = {}, set()
    of = {key: "" if "loss" in prediction.values else key.partition("/")[0] for key in
          prediction.values}  # fmt: skip
    for key, value in prediction.values.items():
        if key in looked.off or key in looked.kept:
            distance = looked.left(key, value)
            if distance <= looked.limit(key) + prediction.rounding.get(key, 0.0):
                left[key] = distance
            elif key in looked.kept:
                wrong.add(of[key])
    return {key: left[key] for key in looked.off if key in left and of[key] not in wrong}


def _distinct(found: list[Found]) -> list[Found]:
    """One of each kind, and none that is general beside one that is not."""
    special = [one for one in found if not any(part.hypothesis.general for part in one)]
    found = special or found
    kinds = {frozenset((p.hypothesis.id, p.prediction.of) for p in one): one for one in found[::-1]}
    return [*kinds.values()][::-1]


def again(before: list[Found], now: list[Found]) -> list[Found]:
    """Those of before that explain what is off now too, by the same numbers."""
    return [one for one in before if any(_same(one, other) for other in now)]


def _same(one: Found, other: Found) -> bool:
    mine, yours = ({p.hypothesis.id: p.prediction for p in of} for of in (one, other))
    return {*mine} == {*yours} and all(
        prediction.of == yours[id_].of
        and all(a.meets(b) for a, b in zip(prediction.numbers, yours[id_].numbers, strict=True))
        for id_, prediction in mine.items()
    )


def told(found: Found) -> Explanation:
    """An explanation as it is stored."""
    numbers = [n for part in found for n in part.prediction.numbers]
    sentences = []
    for part in found:
        texts = [str(n) for n in part.prediction.numbers]
        text = part.hypothesis.sentence.format(*texts, of=part.prediction.of)
        sentences.append(f"{text}, in {_names(part.left)}")
    return Explanation(
        hypothesis=" + ".join(part.hypothesis.id for part in found),
        sentence="; and ".join(sentences),
        numbers=[number(n.value) for n in numbers],
        left=number(max(left for part in found for left in part.left.values())),
    )


def _names(keys: Iterable[str]) -> str:
    """What is explained, by name; of many how many."""
    prefixes = ("trace.", "held.", "grad.", "new.")
    names = []
    for key in keys:
        name = next((key.removeprefix(p) for p in prefixes if key.startswith(p)), key)
        names.append(name)
    names = [*dict.fromkeys(names)]
    if len(names) <= LISTED:
        return ", ".join(names)
    return f"{len(names)} tensors, {names[0]} first"
