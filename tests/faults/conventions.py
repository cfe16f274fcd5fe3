"""Small nets that every convention of harness/explain shows in, and what is planted where.

Their rooms are in tests/rooms; conventions_torch.py and conventions_jax.py plant each, as a
function of its name. Imports no framework.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from harness.interface import Optimiser
from harness.workloads.declare import Declared, Others, declare, fan_in_normal
from harness.workloads.reference.losses import Quadratic, SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import (
    adagrad,
    adam,
    adamw,
    decay,
    momentum,
    rmsprop,
)
from harness.workloads.reference.pieces import (
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
)

# What all nets here have in common.
net = partial(declare, init=fan_in_normal, data="conventions.npz", batch_size=16, epochs=1)


def _mixed(name: str, optimiser: Optimiser, inputs: int = 5, **others: object) -> Declared:
    """Dense layers with every activation there is, all of one room."""
    own: Others = {**others}  # type: ignore[typeddict-item]
    return net(
        name,
        Dense("W1", "b1", inputs, 5),
        Relu(),
        Dense("W2", "b2", 5, 5),
        Sigmoid(),
        Dense("W3", "b3", 5, 5),
        Tanh(),
        Dense("W4", "b4", 5, 5),
        Softmax(),
        Dense("W5", "b5", 5, 3),
        loss=SoftmaxCrossEntropy(),
        optimiser=optimiser,
        x=(inputs,),
        model="mixed",
        sizes={"inputs": inputs},
        **own,
    )


MIXED = _mixed("mixed", momentum(0.1))
RMSPROP = _mixed("with-rmsprop", rmsprop(0.01, eps=1e-3))
ADAGRAD = _mixed("with-adagrad", adagrad(0.1, eps=1e-3))
ADAM = _mixed("with-adam", adam(0.01, eps=1e-3))
ADAMW = _mixed("with-adamw", adamw(0.01, eps=1e-3))
DECAY = _mixed("with-decay", decay(0.1, 0.05))
PIXELS = _mixed("pixels", momentum(0.1), inputs=25, normalise=(0.3, 0.4))
IMAGE = net(
    "image",
    Conv("K1", "c1", 2, 4, 3, pad=1),
    Relu(),
    Conv("K2", "c2", 4, 4, 3, stride=2, pad=1),
    Tanh(),
    AveragePool(3, stride=2, pad=1, counted=False),
    Flatten(),
    Dense("W3", "b3", 16, 3),
    loss=SoftmaxCrossEntropy(),
    optimiser=momentum(0.1),
    x=(8, 8, 2),
)
# No bias before batch norm: its gradient would be 0 in exact arithmetic, and rounding here.
UNBIASED = net(
    "unbiased",
    Dense("W1", "", 5, 6),
    BatchNorm("gamma", "beta", "mean", "var", 6),
    Sigmoid(),
    Dropout("U", 0.25),
    Dense("W2", "b2", 6, 3),
    loss=SoftmaxCrossEntropy(),
    optimiser=momentum(0.1),
    x=(5,),
    model="normed",
    sizes={"bias": 0},
)
TWICE_NORMED = net(
    "twice-normed",
    Dense("W1", "", 5, 6),
    BatchNorm("gamma1", "beta1", "mean1", "var1", 6),
    Sigmoid(),
    Dense("W2", "", 6, 4),
    BatchNorm("gamma2", "beta2", "mean2", "var2", 4),
    Dropout("U", 0.3),
    Dense("W3", "b3", 4, 3),
    loss=SoftmaxCrossEntropy(),
    optimiser=momentum(0.1),
    x=(5,),
)
ONE = net(
    "one",
    Dense("W1", "b1", 5, 4),
    Tanh(),
    Dense("W2", "b2", 4, 1),
    loss=Quadratic(),
    optimiser=momentum(0.1),
    x=(5,),
    l2=0.03,
)


class Convention(NamedTuple):
    """Where a convention is planted: a workload of `NETS`, its rung, and the numbers planted.

    alike: others that give the same there. id: what is named, where it is not what is planted.
    """

    net: str
    rung: str
    numbers: tuple[float, ...] = ()
    alike: tuple[str, ...] = ()
    id: str = ""


NETS: dict[str, Declared] = {
    "MIXED": MIXED,
    "IMAGE": IMAGE,
    "UNBIASED": UNBIASED,
    "TWICE_NORMED": TWICE_NORMED,
    "ONE": ONE,
    "PIXELS": PIXELS,
    "RMSPROP": RMSPROP,
    "ADAGRAD": ADAGRAD,
    "ADAM": ADAM,
    "ADAMW": ADAMW,
    "DECAY": DECAY,
}
PLANTED: dict[str, Convention] = {
    "transposed": Convention("IMAGE", "inputs"),
    "channels-first": Convention("IMAGE", "inputs"),
    "images-transposed": Convention("PIXELS", "inputs"),
    "columns-permuted": Convention("MIXED", "inputs"),
    "rows-permuted": Convention("MIXED", "inputs"),
    "pixels-by-256": Convention("PIXELS", "inputs"),
    "pixels-not-divided": Convention("PIXELS", "inputs"),
    "not-normalised": Convention("PIXELS", "inputs"),
    "normalised": Convention("PIXELS", "inputs", (0.1307, 0.3081)),
    "labels-shifted": Convention("MIXED", "inputs"),
    "float32-inside": Convention("MIXED", "forward"),
    "bias-missing": Convention("MIXED", "forward"),
    "bias-twice": Convention("MIXED", "forward"),
    "bias-of-another": Convention("MIXED", "forward"),
    "weight-transposed": Convention("MIXED", "forward"),
    "kernel-flipped": Convention("IMAGE", "forward"),
    "flatten-channels-first": Convention("IMAGE", "forward"),
    "flatten-columns-first": Convention("IMAGE", "forward"),
    "padding-one-sided": Convention("IMAGE", "forward"),
    "pool-counts-padding": Convention("IMAGE", "forward"),
    "leaky-slope": Convention("MIXED", "forward", (0.01,)),
    "relu6": Convention("MIXED", "forward"),
    "softplus": Convention("MIXED", "forward"),
    "activation-missing": Convention("MIXED", "forward"),
    "sigmoid-for-tanh": Convention("MIXED", "forward"),
    "tanh-for-sigmoid": Convention("MIXED", "forward"),
    "hard-sigmoid-sixth": Convention("MIXED", "forward"),
    "hard-sigmoid-fifth": Convention("MIXED", "forward"),
    "softmax-over-samples": Convention("MIXED", "forward"),
    "outputs-softmax": Convention("MIXED", "forward"),
    "outputs-sigmoid": Convention("MIXED", "forward"),
    "batch-norm-eps": Convention("UNBIASED", "forward", (1e-3,)),
    "other-mode": Convention("UNBIASED", "forward"),
    "norms-never-training": Convention("TWICE_NORMED", "forward", id="other-mode"),
    "norms-always-training": Convention("TWICE_NORMED", "forward", id="other-mode"),
    "batch-norm-n-1": Convention("UNBIASED", "forward"),
    "dropout-keep-for-drop": Convention("UNBIASED", "forward"),
    "dropout-keeps-below-p": Convention("UNBIASED", "forward", id="dropout-keep-for-drop"),
    "dropout-other-half": Convention("UNBIASED", "forward"),
    "dropout-not-scaled": Convention("UNBIASED", "forward"),
    "dropout-scales-evaluation": Convention("UNBIASED", "forward"),
    "operands-tf32": Convention("MIXED", "forward", alike=("operands-float16",)),
    "operands-tf32-cut": Convention("MIXED", "forward"),
    "operands-bfloat16": Convention("MIXED", "forward"),
    "operands-bfloat16-cut": Convention("MIXED", "forward"),
    "operands-float16": Convention("MIXED", "forward", alike=("operands-tf32",)),
    "loss-sum": Convention("MIXED", "loss"),
    "loss-elements": Convention("MIXED", "loss"),
    "loss-full-batch": Convention("MIXED", "loss"),
    "loss-doubled": Convention("ONE", "loss"),
    "loss-halved": Convention("MIXED", "loss"),
    "loss-factor": Convention("MIXED", "loss", (1.001,)),
    "loss-twice-normalised": Convention("MIXED", "loss"),
    "label-smoothing": Convention("MIXED", "loss", (0.1,)),
    "probability-clipped": Convention("MIXED", "loss", (1e-7,)),
    "log-plus-eps": Convention("MIXED", "loss", (1e-7,)),
    "loss-broadcast": Convention("ONE", "loss"),
    "l2-missing": Convention("ONE", "loss"),
    "l2-no-half": Convention("ONE", "loss"),
    "l2-of-biases": Convention("ONE", "loss"),
    "l2-added": Convention("MIXED", "loss", (0.02,)),
    "gradient-missing": Convention("MIXED", "gradients"),
    "gradient-factor": Convention("MIXED", "gradients", (2.0,)),
    "clipped-global-norm": Convention("MIXED", "gradients", (0.05,)),
    "clipped-own-norm": Convention("MIXED", "gradients", (0.02,)),
    "clipped-by-value": Convention("MIXED", "gradients", (0.01,)),
    "relu-at-zero": Convention("MIXED", "gradients", (0.5,)),
    "gradient-l2": Convention("MIXED", "gradients", (0.01,)),
    "gradient-l1": Convention("MIXED", "gradients", (0.01,)),
    "back-tf32": Convention("MIXED", "gradients", alike=("back-float16",)),
    "back-tf32-cut": Convention("MIXED", "gradients"),
    "back-bfloat16": Convention("MIXED", "gradients"),
    "back-bfloat16-cut": Convention("MIXED", "gradients"),
    "back-float16": Convention("MIXED", "gradients", alike=("back-tf32",)),
    "lr-factor": Convention("MIXED", "update", (1.001,)),
    "not-updated": Convention("MIXED", "update"),
    "lr-in-velocity": Convention("MIXED", "update"),
    "lr-in-velocity-added": Convention("MIXED", "update"),
    "dampened": Convention("MIXED", "update", (0.7,)),
    "nesterov-or-not": Convention("MIXED", "update"),
    "eps-in-root": Convention("RMSPROP", "update"),
    "other-eps-in-root": Convention("RMSPROP", "update", (1e-7,)),
    "other-eps": Convention("RMSPROP", "update", (1e-5,)),
    "centred": Convention("RMSPROP", "update"),
    "eps-hat": Convention("ADAM", "update"),
    "other-eps-hat": Convention("ADAM", "update", (1e-7,)),
    "no-bias-correction": Convention("ADAM", "update"),
    "betas-swapped": Convention("ADAM", "update"),
    "slots-at-start": Convention("MIXED", "update"),
    "adagrad-start": Convention("ADAGRAD", "update", (0.1,)),
    "decay-coupled": Convention("ADAM", "update", (0.01,)),
    "decay-decoupled": Convention("ADAM", "update", (0.02,)),
    "decay-missing": Convention("ADAMW", "update"),
    "decay-not-times-lr": Convention("ADAMW", "update"),
    "decay-of-adam-coupled": Convention("ADAMW", "update"),
    "decay-of-biases": Convention("DECAY", "update"),
    "other-decay": Convention("ADAMW", "update", (0.04,)),
    "l1": Convention("MIXED", "update", (0.01,)),
    **{
        f"{id_}-in-step": Convention("ADAM", "update", (most,), id=id_)
        for id_, most in (
            ("clipped-global-norm", 0.05),
            ("clipped-own-norm", 0.02),
            ("clipped-by-value", 0.01),
        )
    },
    "running-swapped": Convention("UNBIASED", "update"),
    "running-not-updated": Convention("UNBIASED", "update"),
    "running-weight": Convention("UNBIASED", "update", (0.99,)),
    "running-over-n": Convention("UNBIASED", "update"),
    "stale-gradients": Convention("MIXED", "lockstep"),
    "stale-parameters": Convention("MIXED", "lockstep"),
    "gradients-added-up": Convention("MIXED", "lockstep"),
    "slots-anew": Convention("MIXED", "lockstep"),
    "step-skipped": Convention("MIXED", "lockstep", (3.0,)),
    "step-twice": Convention("MIXED", "lockstep", (3.0,)),
}
# Mistakes that are no convention: nothing may be named.
OUTSIDE: dict[str, Convention] = {
    "bump-of-a-gelu": Convention("MIXED", "forward"),
    "gelu-by-tanh": Convention("MIXED", "forward"),
    "kernel-wrong-from-row-9": Convention("MIXED", "forward"),
    "half-a-bias": Convention("MIXED", "forward"),
    "gradient-drifts": Convention("MIXED", "gradients"),
}


def stepping(step):
    """Another step in place of a trainer's: step(trainer, past, batch).

    past: a list that is empty whenever a state is set, for what a step leaves to the next.
    """

    def change(trainer):
        past, right = [], trainer.set_state

        def set_state(state):
            past.clear()
            right(state)

        trainer.set_state = set_state
        trainer.step = lambda batch: step(trainer, past, batch)

    return change


def planting(change):
    """What plants a change of a trainer: a function of the backend."""

    def plant(backend):
        original = backend.trainer

        def trainer(workload):
            made = original(workload)
            change(made)
            return made

        backend.trainer = trainer
        return backend

    plant.__doc__ = change.__doc__
    return plant
