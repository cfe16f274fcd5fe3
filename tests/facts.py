"""The judge against facts of an independent float64 program, on the real data.

`python -m tests.facts [NAME ...]` trains as far as a file of facts goes and prints by how much the
judge is off at most. The data are looked for as everywhere (HARNESS_DATA_DIR); the files stand in a
folder `facts` beside them, in the form that its README describes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness import data
from harness.interface import State
from harness.workloads import (
    DECLARED,
    himmelblau,
    nielsen_neuron,
    nielsen_neuron_cross_entropy,
)
from harness.workloads.declare import Declared
from harness.workloads.reference.canonical import epoch_order, initial_state, schedule
from harness.workloads.reference.composed import Composed, cast
from harness.workloads.reference.optimisers import stepped

SEED = 0


# What a file of facts is about; how many steps the suite takes of it.
NETS: dict[str, tuple[Callable[[], Declared], int | None]] = {
    "cifar-net": (lambda: DECLARED["cifar-net"], 100),
    "mnist-mlp": (lambda: DECLARED["mnist-mlp"], None),
    "diabetes": (lambda: DECLARED["diabetes"], None),
    "nielsen-network": (lambda: DECLARED["nielsen-network"], 300),
    "nielsen-cross-entropy": (lambda: DECLARED["nielsen-cross-entropy"], 300),
    "nielsen-deep": (lambda: DECLARED["nielsen-deep"], 300),
    "mlp-concise": (lambda: DECLARED["mlp-concise"], 50),
    "mnist-mlp-concise": (lambda: DECLARED["mnist-mlp-concise"], 50),
    **{
        name: (lambda name=name: DECLARED[name], None)  # type: ignore[misc]
        for name in (
            "softmax-regression",
            "diabetes-relu-sigmoid",
            "diabetes-relu",
            "logistic-regression",
            "linear-regression",
        )
    },
    **{
        f"nielsen-neuron/w={w} b={b} loss={loss}": (
            lambda started=module.started, w=w, b=b: started(w, b),  # type: ignore[misc]
            None,
        )
        for w, b in ((2.0, 2.0), (0.6, 0.9))
        for loss, module in (
            ("quadratic", nielsen_neuron),
            ("cross-entropy", nielsen_neuron_cross_entropy),
        )
    },
    **{
        f"himmelblau/{u},{v}": (lambda u=u, v=v: himmelblau.started(u, v), None)  # type: ignore[misc]
        for u, v in ((0, 0), (1, 0), (-4, 0), (4, 0))
    },
    **{
        f"nielsen-conv-{number}": (lambda number=number: DECLARED[f"nielsen-conv-{number}"], steps)  # type: ignore[misc]
        for number, steps in enumerate((100, 5, 5, 5, 2, 2, 2))
    },
    "resnet34": (lambda: DECLARED["resnet34"], None),
}


def folder() -> Path | None:
    """Where the files of facts are; None where nobody said where the data are."""
    named = os.environ.get(data.ENVIRONMENT_VARIABLE)
    return Path(named).parent / "facts" if named else None


def read(name: str) -> dict[str, Any]:
    """A file of facts; NAME/VARIANT is that of one of its variants."""
    found, (name, _, variant) = folder(), name.partition("/")
    assert found is not None
    facts: dict[str, Any] = json.loads((found / f"{name}.json").read_text())
    return facts["variants"][variant] if variant else facts


def _samples(declared: Declared) -> tuple[Any, Any]:
    """Training samples, all but what is held out, and targets."""
    workload = declared.workload
    found = data.of_workload(workload, workload.data, warn=print)
    rows = slice(0, len(found.train_x) - workload.validation)
    return found.train_x[rows], data.targets(found.train_y[rows], workload.y)


def batches(declared: Declared, steps: int) -> Iterator[State]:
    """The first batches of a training, as float64."""
    workload = declared.workload
    images, y = _samples(declared)
    n, in_order = len(y), workload.batch_size is None or workload.data in data.MADE
    if in_order:
        size = workload.batch_size or n
        slots, order = [(0, t * size % n, t * size % n + size) for t in range(steps)], np.arange(n)
    else:
        epochs = -(-steps * workload.batch_size // n)
        slots = [*schedule(n, workload.batch_size, epochs)][:steps]
    for step, (epoch, first, last) in enumerate(slots):
        if not in_order:
            order = epoch_order(SEED, epoch, n)
        rows = order[first:last]
        x = data.prepared(images[rows], workload.x, workload.normalise)
        rng = np.random.default_rng([SEED, 3, step])
        noise = {t.name: rng.random((len(rows), *t.shape)) for t in workload.noise}
        rounded = {name: value.astype(np.float32) for name, value in noise.items()}
        targets = {} if workload.y == "none" else {"y": y[rows]}
        yield cast({"x": x, **targets, **rounded})


def worst(name: str, steps: int | None = None) -> dict[str, float]:
    """By how much the judge is off at most: of losses, first gradients, norms at the end, slots.

    Relative to each; an element of a gradient relative to the tensor's largest. steps: None is all
    that the facts have.
    """
    facts, declared = read(name), NETS[name][0]()
    judge, workload = Composed(declared.net), declared.workload
    state = cast(initial_state(workload, SEED))
    # Of a function of few variables there are the first ones only.
    told = facts["losses" if "losses" in facts else "first_losses"]
    # A training that fails ends with a loss that is none.
    told = [loss for loss in told if isinstance(loss, float)]
    losses = told[:steps]
    # What is minimised there is a sum, and what is told its mean.
    samples = workload.batch_size if workload.loss == "half-squared-sum" else 1
    off: dict[str, float] = {"losses": 0.0}

    def at_most(what: str, got: float, want: float, scale: float | None = None) -> None:
        of = abs(want) if scale is None else scale
        off[what] = max(off.get(what, 0.0), float(abs(got - want) / of if of else abs(got)))

    for step, batch in enumerate(batches(declared, len(losses))):
        look = judge.look(state, batch)
        at_most("losses", look.loss / samples, losses[step])
        for tensor, norm in facts.get(f"gradient_norms_step_{step}", {}).items():
            at_most("gradient norms", float(np.linalg.norm(look.grads[tensor])), norm)
        for tensor, (place, want) in facts.get(f"gradient_largest_step_{step}", {}).items():
            at_most("gradients", look.grads[tensor].ravel()[place], want)
            for i, element in enumerate(facts[f"gradient_step_{step}"][tensor]):
                at_most("gradients", look.grads[tensor].ravel()[i], element, abs(want))
        state = stepped(workload.optimiser, state, look.grads) | look.running
    if losses == told and "first_losses" not in facts:
        for tensor, norm in facts["norms"].items():
            at_most("norms", float(np.linalg.norm(state[tensor])), norm)
        for slot, norms in facts["slots"].items():
            for tensor, norm in norms.items():
                at_most("slots", float(np.linalg.norm(state[f"{tensor}/{slot}"])), norm)
        for at, of in facts["at_end"].get("running", {}).items():
            block, _, number = at.partition(".")
            for part in ("mean", "var"):
                value = state[f"{block}.{part}{number}"]
                at_most("running", float(np.linalg.norm(value)), of[f"{part}_norm"])
        if "evaluation_logits_norm" in facts["at_end"]:
            found = data.of_workload(workload, workload.data, warn=print)
            x = data.prepared(found.test_x[:2], workload.x, workload.normalise)
            logits = judge.outputs(state, cast({"x": x}))
            want = facts["at_end"]["evaluation_logits_norm"]
            at_most("evaluation", float(np.linalg.norm(logits)), want)
    return off


if __name__ == "__main__":
    for name in sys.argv[1:] or NETS:
        begin = time.perf_counter()
        print(name, worst(name), f"{time.perf_counter() - begin:.1f} s", flush=True)
