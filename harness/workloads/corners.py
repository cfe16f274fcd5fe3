"""Made batches, for corners that real data never visit: blank, far out, sure, shifted.

Each is made from a net's own layers, so every workload has those that its layers can have. Imports
NumPy; no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.interface import Array, State, Workload
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy
from harness.workloads.reference.pieces import Dense, Layer, Relu

# *confident*: logit gaps for a true class of probability 1 - 1e-12 (27.6 = 12 ln 10) and 1e-30
# (69.1 = 30 ln 10) in the dimmest sample of the batch; brighter ones go further. Of a sigmoid the
# larger one, either way.
SURE_GAP = 27.7
WRONG_GAP = 69.1
# *shifted*: the last bias moved by this much; the logits' spread within a row brought to this RMS.
SHIFT = 1e3
SPREAD = 3.0
# *far*: the largest value behind each ReLU is brought to this at least, in most samples.
FAR = 30.0
# The pool that samples are chosen from, in batches.
POOL_BATCHES = 16


@dataclass(frozen=True, eq=False)
class Probe:
    """`state`: float32 by name; batch: "x" float32 (n, ...), "y", noise.

    `centred`: the forward rung compares outputs less their row mean.
    """

    case: str
    state: State
    batch: State
    centred: bool = False


# Which rows of a batch are clear of every kink at a state: bool (n,).
Clear = Callable[[State, State], Array]


class _Pool(NamedTuple):
    """What made batches are chosen from: a judge, an initial state, samples for several batches."""

    judge: Composed
    state: State
    batch: State
    clear: Clear
    size: int

    def first(self, state: State, batch: State) -> Array:
        """The first clear rows, a batch of them; looked for in pieces, as almost all are clear.

        Filled up with others where too few are.
        """
        rows: list[int] = []
        for begin in range(0, len(batch["x"]), self.size):
            piece = self.taken(batch, slice(begin, begin + self.size))
            rows += (begin + np.flatnonzero(self.clear(state, piece))).tolist()
            if len(rows) >= self.size:
                break
        if len(rows) < self.size:  # what their kinks can move is part of the limits
            clear = {*rows}
            rows += [row for row in range(len(batch["x"])) if row not in clear]
        return np.array(rows[: self.size], dtype=np.intp)

    def taken(self, batch: State, rows: Array | slice) -> State:
        """Rows of a batch, as copies."""
        return {name: np.array(value[rows]) for name, value in batch.items()}


def probes(
    judge: Composed, workload: Workload, state: State, batch: State, clear: Clear
) -> list[Probe]:
    """The made batches that a net can have: *corner*, *confident*, *shifted*, *far*.

    state: float32; batch: a pool of samples several times the batch size, float32.
    """
    assert workload.batch_size is not None
    layers, loss = judge.net.layers, judge.net.loss
    last, softmax = layers[-1], isinstance(loss, SoftmaxCrossEntropy)
    pool = _Pool(judge, _answering(state, last), batch, clear, workload.batch_size)
    made = [*_corner(pool)]
    if isinstance(last, Dense) and last.bias and (softmax or isinstance(loss, SigmoidCrossEntropy)):
        # Where samples are coupled a chosen one is another in another batch.
        chosen = softmax and len(layers) > 1 and not any(layer.couples for layer in layers)
        made += [*(_chosen(pool, last) if chosen else ())] or [_biased(pool, last)]
        made += _shifted(pool, last) if softmax and len(layers) > 1 else ()
    if any(isinstance(layer, Relu) for layer in layers):
        made += _far(pool)
    if judge.net.can_fail:  # nothing is asked of a loss that is undefined
        made = [one for one in made if judge.look(one.state, one.batch).outputs.max() <= 1]
    return made


def _answering(state: State, last: Layer) -> State:
    """The state with drawn last weights where all are 0: then no output depends on what came in."""
    if not isinstance(last, Dense) or state[last.weight].any():
        return state
    shape = state[last.weight].shape
    drawn = np.random.default_rng(0).standard_normal(shape) / np.sqrt(last.inputs)
    return state | {last.weight: drawn.astype(np.float32)}


def _corner(pool: _Pool) -> Iterator[Probe]:
    """A blank sample, all ones, and a repeat; the first bias is 0, so a blank's units are too.

    Where ones lie near a kink, with as few zeros in front as clear them. (An even shade would not
    do: with a bias of 0 it scales every pre-activation alike.)
    """
    first = next(layer for layer in pool.judge.net.layers if layer.slots("", ""))
    state = pool.state | {
        slot.tensor.name: np.zeros_like(pool.state[slot.tensor.name])
        for slot in first.slots("", "")
        if slot.kind == "bias"
    }
    made = pool.taken(pool.batch, pool.first(state, pool.batch))
    if len(made["x"]) < 4:
        return
    shape = made["x"].shape[1:]
    size = made["x"][0].size
    ones = (np.arange(size) >= np.arange(min(64, size))[:, None]).astype(np.float32)
    ones = ones.reshape(-1, *shape)
    # Whatever noise the pool has, its targets aside: as many samples of it.
    others = {name: values for name, values in pool.batch.items() if name not in ("x", "y")}
    noise = {n: np.resize(v, (len(ones), *v.shape[1:])) for n, v in others.items()}
    far = pool.clear(state, {"x": ones} | noise)
    made["x"][0] = 0.0
    made["x"][1] = ones[np.argmax(far)]
    for values in made.values():
        values[3] = values[2]
    yield Probe("corner", state, made)


def _levels(outputs: int) -> Array:
    """Logits by which class 0 is nearly certain, and the last one is not."""
    levels = np.full(outputs, WRONG_GAP - SURE_GAP)
    levels[0], levels[-1] = WRONG_GAP, 0.0
    return levels


def _first_or_last(n: int, outputs: int) -> Array:
    """Classes of n samples: 0 in even rows, the last one in odd ones."""
    return np.where(np.arange(n) % 2 == 0, 0, outputs - 1)


def _chosen(pool: _Pool, last: Dense) -> Iterator[Probe]:
    """Last weights made so that class 0 is nearly certain: right for even rows, not for odd ones.

    Those have the last class. What comes in behind a ReLU has a large part along its mean; weights
    along that give each sample logits in proportion to it, which is at least 1 in the brightest
    samples, chosen here.
    """
    batch = pool.taken(pool.batch, np.flatnonzero(pool.clear(pool.state, pool.batch)))
    hidden = pool.judge.before_last(pool.state, batch).astype(np.float64)
    direction = hidden.mean(axis=0)
    part = hidden @ direction
    best = np.argsort(-part, kind="stable")[: pool.size]
    if not len(best) or part[best].min() <= 0:
        return
    levels = _levels(last.outputs)
    weights = pool.state[last.weight] + np.outer(direction / part[best].min(), levels)
    made = pool.taken(batch, np.sort(best))
    made["y"] = _first_or_last(len(made["x"]), last.outputs)
    yield Probe("confident", pool.state | {last.weight: weights.astype(np.float32)}, made)


def _biased(pool: _Pool, last: Dense) -> Probe:
    """The same by the last bias, for whatever comes in; of sigmoids every other one is nearly 0.

    Each of those is right for every other sample, if targets are numbers.
    """
    made = pool.taken(pool.batch, pool.first(pool.state, pool.batch))
    n, outputs = len(made["x"]), np.arange(last.outputs)
    levels = _levels(last.outputs)
    if isinstance(pool.judge.net.loss, SigmoidCrossEntropy):
        levels = np.where(outputs % 2 == 0, WRONG_GAP, -WRONG_GAP)
    if pool.judge.net.loss.targets == "class":
        made["y"] = _first_or_last(n, last.outputs)
    else:
        ones = np.add.outer(np.arange(n), outputs) % 2
        made["y"] = ones.astype(made["y"].dtype).reshape(made["y"].shape)
    bias = (pool.state[last.bias] + levels).astype(np.float32)
    return Probe("confident", pool.state | {last.bias: bias}, made)


def _shifted(pool: _Pool, last: Dense) -> Iterator[Probe]:
    """The last bias moved by +-1e3: nothing, unless softmax forgets to subtract the maximum."""
    made = pool.taken(pool.batch, pool.first(pool.state, pool.batch))
    logits = pool.judge.before_last(pool.state, made) @ pool.state[last.weight]
    rms = float(np.sqrt(np.mean(np.square(logits - logits.mean(axis=1, keepdims=True)))))
    weights = (pool.state[last.weight] * (SPREAD / rms)).astype(np.float32)
    for case, shift in (("shifted-up", SHIFT), ("shifted-down", -SHIFT)):
        bias = pool.state[last.bias] + np.float32(shift)
        yield Probe(case, pool.state | {last.weight: weights, last.bias: bias}, made, centred=True)


def _far(pool: _Pool) -> Iterator[Probe]:
    """Inputs so large that a unit behind every ReLU is: one that is cut off at 6 shows."""
    made = pool.taken(pool.batch, slice(0, 2 * pool.size))
    largest = pool.judge.largest(pool.state, made)
    if not largest > 0:
        return
    wide = pool.batch | {"x": pool.batch["x"] * np.float32(FAR / largest)}
    yield Probe("far", pool.state, pool.taken(wide, pool.first(pool.state, wide)))
