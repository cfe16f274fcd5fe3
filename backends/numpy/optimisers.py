"""How a step changes a tensor, in NumPy and in place: the formulas of docs/workload.md.

Read it beside the others: same names, same order. May import NumPy and harness.interface.
p: the tensor, g: its gradient, own: what the rule keeps beside it by name, all of one shape; t: the
number of the step, from 1 (0 where the rule does not count); o: the optimiser.
"""

from collections.abc import Callable

import numpy as np

from harness.interface import Array, Optimiser, State, Workload


def sgd(p: Array, g: Array, own: State, t: float, o: Optimiser) -> None:  # noqa: ARG001
    """P -= lr g."""
    p -= o.lr * g


def momentum(p: Array, g: Array, own: State, t: float, o: Optimiser) -> None:  # noqa: ARG001
    """V = m v + g; p -= lr v."""
    v = own["velocity"]
    v *= o.numbers["momentum"]
    v += g
    p -= o.lr * v


def nesterov(p: Array, g: Array, own: State, t: float, o: Optimiser) -> None:  # noqa: ARG001
    """V = m v + g; p -= lr (g + m v)."""
    v = own["velocity"]
    v *= o.numbers["momentum"]
    v += g
    p -= o.lr * (g + o.numbers["momentum"] * v)


def rmsprop(p: Array, g: Array, own: State, t: float, o: Optimiser) -> None:  # noqa: ARG001
    """V = rho v + (1 - rho) g²; p -= lr g / (sqrt(v) + eps)."""
    v = own["v"]
    v *= o.numbers["rho"]
    v += (1 - o.numbers["rho"]) * g**2
    p -= o.lr * g / (np.sqrt(v) + o.numbers["eps"])


def adagrad(p: Array, g: Array, own: State, t: float, o: Optimiser) -> None:  # noqa: ARG001
    """V += g²; p -= lr g / (sqrt(v) + eps)."""
    v = own["v"]
    v += g**2
    p -= o.lr * g / (np.sqrt(v) + o.numbers["eps"])


def adam(p: Array, g: Array, own: State, t: float, o: Optimiser) -> None:
    """M = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; both are corrected for their start at 0.

    p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
    """
    b1, b2 = o.numbers["beta1"], o.numbers["beta2"]
    m, v = own["m"], own["v"]
    m *= b1
    m += (1 - b1) * g
    v *= b2
    v += (1 - b2) * g**2
    p -= o.lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + o.numbers["eps"])


def decay(p: Array, g: Array, own: State, t: float, o: Optimiser) -> None:  # noqa: ARG001
    """P -= lr (g + decay p), of weights and kernels; what has fewer than two axes goes by sgd."""
    p -= o.lr * (g + o.numbers["decay"] * p)


def adamw(p: Array, g: Array, own: State, t: float, o: Optimiser) -> None:
    """As adam, and p -= lr decay p, of the p before the step."""
    p -= o.lr * o.numbers["decay"] * p
    adam(p, g, own, t, o)


RULES: dict[str, Callable[[Array, Array, State, float, Optimiser], None]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adam": adam,
    "decay": decay,
    "adamw": adamw,
}


class Update:
    """The rule of a workload at work on its tensors: what it keeps beside them, and the step.

    slots: by name ("W1/velocity", "step"), each of its tensor's shape, 0 at first.
    """

    def __init__(self, workload: Workload, tensors: State, dtype: str) -> None:
        self.optimiser, rule = workload.optimiser, workload.optimiser.rule
        self.rules = {
            tensor.name: sgd if rule == "decay" and len(tensor.shape) < 2 else RULES[rule]
            for tensor in workload.trained
        }
        self.tensors = {tensor.name: tensors[tensor.name] for tensor in workload.trained}
        self.slots: State = {}
        self.beside: dict[str, State] = {name: {} for name in self.tensors}
        for name in (t.name for t in workload.tensors if t.role == "optimiser"):
            owner, _, slot = name.rpartition("/")
            self.slots[name] = np.zeros(tensors[owner].shape if owner else (), dtype)
            if owner:
                self.beside[owner][slot] = self.slots[name]

    def step(self, grads: State) -> None:
        """Change every tensor by its gradient, and what is kept beside it."""
        t = 0.0
        if "step" in self.slots:
            self.slots["step"] += 1
            t = float(self.slots["step"])
        for name, own in self.beside.items():
            self.rules[name](self.tensors[name], grads[name], own, t, self.optimiser)
