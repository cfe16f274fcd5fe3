"""A training that cannot go on: where, why, and what every framework makes of it.

A binary cross-entropy is defined for outputs from 0 to 1. Where nothing holds a model's outputs
there, the reference trains ahead, to find the forward pass that fails; all are compared up to it,
and then asked what they make of that very batch. Imports no framework.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.errors import InputError
from harness.interface import Array
from harness.interface import State as StateOf
from harness.record.schema import Failure, Told, number
from harness.run.state import State
from harness.tensors import save_tensors
from harness.workers.pool import Key
from harness.workloads.reference.composed import Composed, Net, cast
from harness.workloads.reference.optimisers import stepped
from harness.workloads.reference.pieces import Relu

# So near to 1, float32 may exceed it a step earlier: nothing is compared from there on.
EDGE = 1e-4
# A model that cannot learn is compared for some steps all the same: nothing moves in any of them.
LEAST = 10


def foresee(state: State) -> None:
    """Find the forward pass that fails; the schedule ends before it. InputError: it is the first.

    Both are the first seed's: no other one is trained.
    """
    inputs, plan = state.inputs, state.plan
    if plan.net is None or not plan.net.can_fail:
        return
    judge = Composed(plan.net)
    held, edge = cast(inputs.initial(state.seed)), None
    for step, rows in enumerate(inputs.schedule("schedule", state.seed)):
        batch = cast(inputs.batch(rows, state.seed, step))
        look = judge.look(held, batch)
        largest = float(look.outputs.max())
        if edge is None and largest > 1 - EDGE:
            edge = step
        dead = not look.outputs.any() and not any(grad.any() for grad in look.grads.values())
        if dead or largest > 1:
            break
        held = stepped(plan.workload.optimiser, held | look.running, look.grads)
    else:
        return
    if not dead and not edge:
        raise InputError(
            f"workload {plan.workload.name}, seed {state.seed}: the first outputs exceed 1: the "
            "loss is undefined from the start"
        )
    save_tensors(inputs.file("failing-state"), held)
    save_tensors(inputs.file("failing-batch"), {"rows": rows})
    last = max(step, LEAST) if dead or edge is None else edge
    state.record.failure = Failure(
        step=step,
        kind="dead" if dead else "undefined",
        compared=min(last, len(inputs.slots)),
        seed=state.seed,
        largest=number(largest),
        silent=_silent(plan.net, judge.trace(held, batch)),
    )
    inputs.cut(state.record.failure.compared)


def tell(state: State) -> None:
    """What every process makes of the batch that fails, at the reference's own state."""
    failure = state.record.failure
    if failure is None:
        return
    for key in state.pool.live():
        with state.pool.containing(key):
            failure.told.append(_told(state, key))


def _told(state: State, key: Key) -> Told:
    held, batch = (state.inputs.file(f"failing-{name}") for name in ("state", "batch"))
    said, tensors = state.pool.exchange(key, "tell", state=held, batch=batch)
    outputs, grads = tensors.get("outputs"), _grads(tensors)
    shown = {name.removeprefix("trace."): v for name, v in tensors.items() if "trace." in name}
    return Told(
        label=key.label,
        dtype=key.dtype,
        raised=said["raised"],
        loss=number(float(tensors["loss"])) if "loss" in tensors else None,
        largest=None if outputs is None else number(float(outputs.max())),
        gradient=None if not grads else number(_norm(grads)),
        silent=_silent(state.plan.net, shown),
    )


def _grads(tensors: dict[str, Array]) -> list[Array]:
    return [value for name, value in tensors.items() if name.startswith("grad.")]


def _norm(arrays: list[Array]) -> float:
    with np.errstate(all="ignore"):
        return float(np.sqrt(sum(float(np.sum(a.astype(np.float64) ** 2)) for a in arrays)))


def _silent(net: Net | None, trace: StateOf) -> dict[str, Any]:
    """Of each ReLU that is shown: the share of samples for which every unit is 0."""
    assert net is not None
    relus = [
        name for name, layer in zip(net.names(), net.layers, strict=True) if isinstance(layer, Relu)
    ]
    return {
        name: number(float(np.mean(~trace[name].reshape(len(trace[name]), -1).any(axis=1))))
        for name in relus
        if name in trace
    }
