"""A convention of layers: another value in place of a layer's own, in one or in several at once.

The error of a layer itself is explained where a process shows what it had before; else its outputs,
through the whole net.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from harness.explain.hypothesis import Hypothesis, Prediction, fitted
from harness.explain.seen import Seen
from harness.explain.way import Place, Stretch, Value, stretch
from harness.interface import Array, State
from harness.workloads.reference.base import Piece

# A value, with what it says of itself: "" where the sentence says it all.
Variant = tuple[str, Value]
Variants = Callable[[Piece, Seen], Iterable[Variant]]


def by_layer(
    variants: Variants, starts: Sequence[float], seen: Seen, sites: Sequence[str]
) -> Iterator[Prediction]:
    """Each variant in each layer on the way to the first site, in all of a kind, and in all."""
    site = sites[0]
    way = stretch(seen, site)
    if seen.heavy and not way.shown:
        return
    for of, chosen in _choices(way, variants):
        for one in fitted(seen, (site,), partial(_at, way, site, chosen), starts):
            number = one.numbers[0].value if one.numbers else 0.0
            if seen.left(site, one.values[site]) <= seen.limit(site):
                for key in seen.off:
                    if key != site and (value := _nearest(seen, key, variants, number)) is not None:
                        one.values[key] = value
                yield one._replace(of=of)


def _choices(way: Stretch, variants: Variants) -> Iterator[tuple[str, dict[Place, Value]]]:
    own: dict[Place, list[Variant]] = {}
    kinds: dict[type, tuple[Place, ...]] = {}
    for place, layer in way.leaves:
        if found := [*variants(layer, way.seen)]:
            own[place] = found
            kinds[type(layer)] = (*kinds.get(type(layer), ()), place)
    # A layer that is the only one of its kind is asked once.
    for places in dict.fromkeys([*((place,) for place in own), *kinds.values(), tuple(own)]):
        for number in range(min((len(own[place]) for place in places), default=0)):
            of = own[places[0]][number][0]
            yield of, {place: own[place][number][1] for place in places}


def _at(way: Stretch, key: str, chosen: dict[Place, Value], number: float) -> State:
    return {key: way.value({place: (value, number) for place, value in chosen.items()})}


def _nearest(seen: Seen, key: str, variants: Variants, number: float) -> Array | None:
    """What a variant with this number makes of another value that is off; None: there is none."""
    way = stretch(seen, key)
    made = [_at(way, key, chosen, number)[key] for _, chosen in _choices(way, variants)]
    return min(made, key=lambda value: seen.left(key, value), default=None)


def only(kinds: type | tuple[type, ...], *values: Value) -> Variants:
    """These values, of layers of these kinds."""
    return lambda layer, _: [("", value) for value in values] if isinstance(layer, kinds) else []


def row(id_: str, sentence: str, here: str, there: str, variants: Variants,
        starts: Sequence[float] = (), by: str = "", where: str = "") -> Hypothesis:  # fmt: skip
    """A convention of layers as a row of a table."""
    predict = partial(by_layer, variants, starts)
    return Hypothesis(id_, ("forward",), sentence, here, there, predict, by, where)
