"""How a step changes a tensor, in TensorFlow, by hand: the formulas of docs/workload.md.

Read it beside the others: same names, same order. May import tensorflow and harness.interface.
p: the variable, g: its gradient, own: what the rule keeps beside it by name, all of one shape; t:
the number of the step, float64 from 1 (0 where the rule does not count); o: the optimiser.
"""

from collections.abc import Callable

import tensorflow as tf

from harness.interface import Optimiser, Workload

Own = dict[str, tf.Variable]


def sgd(p: tf.Variable, g: tf.Tensor, own: Own, t: tf.Tensor, o: Optimiser) -> None:  # noqa: ARG001
    """P -= lr g."""
    p.assign_sub(o.lr * g)


def momentum(p: tf.Variable, g: tf.Tensor, own: Own, t: tf.Tensor, o: Optimiser) -> None:  # noqa: ARG001
    """V = m v + g; p -= lr v."""
    v = own["velocity"]
    v.assign(o.numbers["momentum"] * v + g)
    p.assign_sub(o.lr * v)


def nesterov(p: tf.Variable, g: tf.Tensor, own: Own, t: tf.Tensor, o: Optimiser) -> None:  # noqa: ARG001
    """V = m v + g; p -= lr (g + m v)."""
    v = own["velocity"]
    v.assign(o.numbers["momentum"] * v + g)
    p.assign_sub(o.lr * (g + o.numbers["momentum"] * v))


def rmsprop(p: tf.Variable, g: tf.Tensor, own: Own, t: tf.Tensor, o: Optimiser) -> None:  # noqa: ARG001
    """V = rho v + (1 - rho) g²; p -= lr g / (sqrt(v) + eps)."""
    v = own["v"]
    v.assign(o.numbers["rho"] * v + (1 - o.numbers["rho"]) * tf.square(g))
    p.assign_sub(o.lr * g / (tf.sqrt(v) + o.numbers["eps"]))


def adagrad(p: tf.Variable, g: tf.Tensor, own: Own, t: tf.Tensor, o: Optimiser) -> None:  # noqa: ARG001
    """V += g²; p -= lr g / (sqrt(v) + eps)."""
    v = own["v"]
    v.assign_add(tf.square(g))
    p.assign_sub(o.lr * g / (tf.sqrt(v) + o.numbers["eps"]))


def adam(p: tf.Variable, g: tf.Tensor, own: Own, t: tf.Tensor, o: Optimiser) -> None:
    """M = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; both are corrected for their start at 0.

    p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
    """
    b1, b2 = o.numbers["beta1"], o.numbers["beta2"]
    m, v = own["m"], own["v"]
    m.assign(b1 * m + (1 - b1) * g)
    v.assign(b2 * v + (1 - b2) * tf.square(g))
    # In float64: in float32 1 - .999 has three digits less.
    started1, started2 = tf.cast(1 - b1**t, p.dtype), tf.cast(1 - b2**t, p.dtype)
    p.assign_sub(o.lr * (m / started1) / (tf.sqrt(v / started2) + o.numbers["eps"]))


def decay(p: tf.Variable, g: tf.Tensor, own: Own, t: tf.Tensor, o: Optimiser) -> None:  # noqa: ARG001
    """P -= lr (g + decay p), of weights and kernels; what has fewer than two axes goes by sgd."""
    p.assign_sub(o.lr * (g + o.numbers["decay"] * p))


def adamw(p: tf.Variable, g: tf.Tensor, own: Own, t: tf.Tensor, o: Optimiser) -> None:
    """As adam, and p -= lr decay p, of the p before the step."""
    p.assign_sub(o.lr * o.numbers["decay"] * p)
    adam(p, g, own, t, o)


RULES: dict[str, Callable[[tf.Variable, tf.Tensor, Own, tf.Tensor, Optimiser], None]] = {
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
    """The rule of a workload at work on its variables: what it keeps beside them, and the step.

    slots: by name ("W1/velocity", "step"), each of its variable's shape, 0 at first.
    """

    def __init__(self, workload: Workload, variables: dict[str, tf.Variable], dtype: tf.DType):
        self.optimiser, rule = workload.optimiser, workload.optimiser.rule
        self.rules = {
            tensor.name: sgd if rule == "decay" and len(tensor.shape) < 2 else RULES[rule]
            for tensor in workload.trained
        }
        self.variables = {tensor.name: variables[tensor.name] for tensor in workload.trained}
        self.slots: dict[str, tf.Variable] = {}
        self.beside: dict[str, Own] = {name: {} for name in self.variables}
        for name in (t.name for t in workload.tensors if t.role == "optimiser"):
            owner, _, slot = name.rpartition("/")
            shape = variables[owner].shape if owner else ()
            self.slots[name] = tf.Variable(tf.zeros(shape, dtype), trainable=False)
            if owner:
                self.beside[owner][slot] = self.slots[name]

    def step(self, grads: dict[str, tf.Tensor]) -> None:
        """Change every variable by its gradient, and what is kept beside it."""
        t = 0.0
        if "step" in self.slots:
            t = tf.cast(self.slots["step"].assign_add(1), tf.float64)
        for name, own in self.beside.items():
            self.rules[name](self.variables[name], grads[name], own, t, self.optimiser)
