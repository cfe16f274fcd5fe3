"""Small nets, and what a float64 worker writes that has a fault in the judge's pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from harness.explain import search
from harness.explain.hypothesis import Limited
from harness.explain.lockstep import Trained
from harness.explain.search import Found
from harness.explain.seen import Seen
from harness.interface import Array, Optimiser, State, Workload
from harness.measure import ladder, straying
from harness.measure.ladder import Wanted
from harness.verdict.numbers import limit_of, within
from harness.workloads.declare import Declared, declare, fan_in_normal
from harness.workloads.reference.composed import Composed, Net
from harness.workloads.reference.losses import (
    BinaryCrossEntropy,
    HalfSquaredSum,
    Loss,
    Quadratic,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from harness.workloads.reference.optimisers import STEP, momentum, sgd, stepped
from harness.workloads.reference.pieces import (
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Relu,
    Residual,
    Sigmoid,
    Softmax,
    Tanh,
)

AT: dict[str, Any] = {"process": "float64", "case": "step 3", "step": 3}
# What a worker writes of a batch, from a net, the workload, a state and a batch; it may change the
# two before anybody computes with them.
Worker = Callable[[Net, Workload, State, State], State]


def small(
    *layers: Layer,
    x: tuple[int, ...],
    loss: Loss | None = None,
    optimiser: Optimiser | None = None,
    **others: Any,
) -> Declared:
    return declare(
        "small",
        *layers,
        loss=loss or SoftmaxCrossEntropy(),
        optimiser=optimiser or sgd(lr=0.1),
        init=fan_in_normal,
        x=x,
        data="none",
        batch_size=16,
        epochs=1,
        **others,
    )


DENSE = Dense("W1", "b1", 6, 5), Dense("W2", "b2", 5, 5), Dense("W3", "b3", 5, 3)


def hidden(activation: Layer, optimiser: Optimiser | None = None, **others: Any) -> Declared:
    """Three dense layers, an activation behind the first two."""
    one, two, three = DENSE
    layers = one, activation, two, activation, three
    return small(*layers, x=(6,), optimiser=optimiser, **others)


RELU, SIGMOID, TANH, SOFTMAX = (hidden(one) for one in (Relu(), Sigmoid(), Tanh(), Softmax()))
CONV = small(
    Conv("K1", "c1", 2, 4, 3, pad=1),
    Relu(),
    Conv("K2", "c2", 4, 4, 3, stride=2, pad=1),
    Tanh(),
    AveragePool(3, stride=2, pad=1, counted=False),
    Flatten(),
    Dense("W3", "b3", 16, 3),
    x=(8, 8, 2),
)
FLAT = small(Flatten(), Dense("W1", "b1", 18, 4), Tanh(), Dense("W2", "b2", 4, 3), x=(3, 3, 2))
NORMED = small(
    Dense("W1", "b1", 6, 5),
    BatchNorm("gamma", "beta", "mean", "var", 5),
    Sigmoid(),
    Dropout("U", 0.25),
    Dense("W2", "b2", 5, 3),
    x=(6,),
    optimiser=momentum(lr=0.1),
)
TWICE_NORMED = small(
    Dense("W1", "b1", 6, 5),
    BatchNorm("g1", "n1", "m1", "v1", 5),
    Dropout("U1", 0.3),
    Sigmoid(),
    Dense("W2", "b2", 5, 4),
    BatchNorm("g2", "n2", "m2", "v2", 4),
    Dropout("U2", 0.5),
    Dense("W3", "b3", 4, 3),
    x=(6,),
)
BLOCK = small(
    Conv("K0", "", 2, 4, 3, pad=1),
    Residual(
        (
            Conv("K1", "", 4, 4, 3, pad=1),
            BatchNorm("g1", "n1", "m1", "v1", 4),
            Relu(),
            Conv("K2", "c2", 4, 4, 3, pad=1),
        ),
        (Conv("Ks", "cs", 4, 4, 1),),
        name="block",
    ),
    Relu(),
    Flatten(),
    Dense("W", "b", 144, 3),
    x=(6, 6, 2),
)
BINARY = small(
    *DENSE[:1], Relu(), Dense("W2", "b2", 5, 1), Sigmoid(), x=(6,), loss=BinaryCrossEntropy()
)
LOGITS = small(*DENSE[:1], Relu(), Dense("W2", "b2", 5, 4), x=(6,), loss=SigmoidCrossEntropy())
ONE = small(*DENSE[:1], Tanh(), Dense("W2", "b2", 5, 1), x=(6,), loss=Quadratic())
SUMMED = small(*DENSE[:1], Tanh(), Dense("W2", "b2", 5, 2), x=(6,), loss=HalfSquaredSum())
DECAYING = hidden(Relu(), l2=0.03)


def state_of(declared: Declared, seed: int) -> State:
    """Every tensor drawn, as after some steps: biases and slots are not 0."""
    rng, state = np.random.default_rng([seed, 1]), {}
    for tensor in declared.workload.tensors:
        value = rng.standard_normal(tensor.shape)
        if tensor.name == STEP:
            value = np.array(float(2 + seed))
        elif tensor.name.endswith("/v") or tensor.init == "ones":
            value = np.exp(value) * (1e-4 if tensor.name.endswith("/v") else 1.0)
        elif tensor.role == "trained" and len(tensor.shape) > 1:
            value = value / np.sqrt(np.prod(tensor.shape[:-1]))
        state[tensor.name] = value
    return state


def batch_of(declared: Declared, seed: int, n: int = 16) -> State:
    workload = declared.workload
    rng = np.random.default_rng([seed, 2])
    batch = {"x": rng.standard_normal((n, *workload.x))}
    if workload.y == "class":
        batch["y"] = rng.integers(0, workload.outputs[0], n)
    elif workload.y == "number":
        batch["y"] = rng.integers(0, 2, (n, *workload.outputs)).astype(np.float64)
    return batch | {one.name: rng.random((n, *one.shape)) for one in workload.noise}


def written(
    judge: Composed,
    workload: Workload,
    state: State,
    batch: State,
    change: Callable[[State, State, State], State] | None = None,
    step: Callable[[Optimiser, State, State], State] = stepped,
) -> State:
    """What a worker writes that computes with these pieces; change: of the gradients."""
    look = judge.look(state, batch)
    grads = look.grads if change is None else look.grads | change(look.grads, state, batch)
    new = step(workload.optimiser, state | look.running, grads)
    two = {"outputs, training": look.outputs} if workload.two_modes else {}
    return {
        **{name: value.copy() for name, value in batch.items()},
        **{f"held.{name}": value.copy() for name, value in state.items()},
        "outputs": judge.outputs(state, batch) if workload.two_modes else look.outputs,
        **two,
        **{f"trace.{name}": value for name, value in judge.trace(state, batch).items()},
        **dict.fromkeys(("loss", "step loss"), np.array(look.loss)),
        **{f"grad.{name}": grad for name, grad in grads.items()},
        **{f"new.{name}": np.asarray(value) for name, value in new.items()},
    }


def seen(declared: Declared, worker: Worker, seed: int, n: int = 16) -> Seen:
    """A batch as the run has it when a rung fails."""
    judge, workload = Composed(declared.net), declared.workload
    state, batch = state_of(declared, seed), batch_of(declared, seed, n)
    tensors = worker(declared.net, workload, state, batch)
    wanted = Wanted.of(judge, workload, state, batch, "float64")
    measurements = ladder.teacher_forced(tensors, wanted, judge=judge, **AT)
    straying.grant(measurements, straying.find_noise(judge, workload, state, batch, False))
    limited = [(m, limit) for m in measurements if (limit := limit_of(m, "strict")) is not None]
    found = [(m, limit.value, within(m, limit)) for m, limit in limited]
    return Seen.of(judge, wanted, tensors, found)


def explained(declared: Declared, worker: Worker, n: int = 16) -> list[Found]:
    """What explains two batches, by the same numbers."""
    first, second = (seen(declared, worker, seed, n) for seed in (1, 2))
    assert first.off
    found = search.find(first)
    if not found:
        return []
    ids = {part.hypothesis.id for one in found for part in one}
    return search.again(found, search.find(second, ids))


def trained(
    declared: Declared, follow: Callable[[int, list[State], list[State]], State], steps: int = 12
) -> Trained:
    """A free training; follow(step, states, gradients so far): the state after a step."""
    judge, workload = Composed(declared.net), declared.workload

    def train(next_: Callable[[int, list[State], list[State]], State]) -> tuple[Array, State]:
        states, grads, losses = [state_of(declared, 1)], list[State](), []
        for number in range(steps):
            look = judge.look(states[-1], batch_of(declared, number))
            losses.append(look.loss)
            grads.append(look.grads)
            states.append(next_(number, states, grads))
        return np.array(losses), states[-1]

    rule = workload.optimiser
    want, right = train(lambda _, states, grads: stepped(rule, states[-1], grads[-1]))
    losses, held = train(follow)
    limited = {}
    measured = ladder.lockstep(held, right, losses, want, 0)
    for m in measured:
        limit = limit_of(m, "strict")
        assert limit is not None
        if not within(m, limit):
            limited[m.tensor] = Limited(m, limit.value)
    batches = lambda number: batch_of(declared, number)  # noqa: E731
    return Trained(judge, workload, state_of(declared, 1), batches, losses, want, held, limited)


def other_layer(kind: type, other: Callable[[Any], Any], which: int | None = 0) -> Worker:
    """In place of one of the layers of a kind stands another; None: in place of each of them."""

    def worker(net: Net, workload: Workload, state: State, batch: State) -> State:
        layers = [*net.layers]
        places = [i for i, layer in enumerate(layers) if isinstance(layer, kind)]
        for place in places if which is None else [places[which]]:
            layers[place] = other(layers[place])
        judge = Composed(msgspec.structs.replace(net, layers=tuple(layers)))
        return written(judge, workload, state, batch)

    return worker


def showing_none(worker: Worker) -> Worker:
    """The same, and nothing of what stands on the way forward."""

    def shown(net: Net, workload: Workload, state: State, batch: State) -> State:
        made = worker(net, workload, state, batch)
        return {key: value for key, value in made.items() if not key.startswith("trace.")}

    return shown


def other_loss(change: Callable[..., tuple[float, Array]]) -> Worker:
    """change(right, outputs, y): the loss and its gradient."""

    def worker(net: Net, workload: Workload, state: State, batch: State) -> State:
        judge = Composed(net, lambda outputs, y: change(net.loss, outputs, y))
        return written(judge, workload, state, batch)

    return worker


def other_grads(change: Callable[[State, State, State], State]) -> Worker:
    """change(grads, state, batch): those that are others."""
    return lambda net, workload, state, batch: written(
        Composed(net), workload, state, batch, change
    )


def other_step(step: Callable[[Optimiser, State, State], State]) -> Worker:
    """step(optimiser, state, grads): the state after it."""
    return lambda net, workload, state, batch: written(
        Composed(net), workload, state, batch, step=step
    )


def other_tensors(change: Callable[[State, State], State]) -> Worker:
    """change(what is written, state): what else is written."""

    def worker(net: Net, workload: Workload, state: State, batch: State) -> State:
        right = written(Composed(net), workload, state, batch)
        return right | change(right, state)

    return worker
