"""What deliberately broken backends are made of: one in NumPy by hand, with one defect each.

`fails` names the check of the conformance kit that must be the first to fail.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from backends import numpy as room
from backends.arguments import check_batch, check_state


class Trainer:
    """The MLP with one hidden layer, and plain SGD; whole, unless a subclass says what differs.

    `hidden` of a pre-activation with its derivative, `objective` of logits and labels with its
    gradient, `change` of the gradients, `updated` of a tensor before and after a step.
    """

    def __init__(self, backend, workload):
        self.workload = workload
        self.dtype = backend.dtype
        self.state = {}
        self.buffers = {}

    def set_state(self, state):
        check_state(state, self.workload)
        self.state = {name: np.array(v, self.dtype, order="C") for name, v in state.items()}

    def get_state(self):
        return {tensor.name: self.state[tensor.name].copy() for tensor in self.workload.tensors}

    def put(self, batch):
        check_batch(batch, self.workload)
        return {"x": np.array(batch["x"], self.dtype, order="C"), "y": np.array(batch["y"], "i8")}

    def fetch(self, batch):
        return {name: value.copy() for name, value in batch.items()}

    def hidden(self, Z):
        return np.maximum(Z, 0), Z > 0

    def objective(self, logits, y):
        Z = logits - logits.max(axis=1, keepdims=True)
        P = np.exp(Z)
        P /= P.sum(axis=1, keepdims=True)
        rows = np.arange(len(y))
        loss = float((np.log(np.exp(Z).sum(axis=1)) - Z[rows, y]).mean())
        P[rows, y] -= 1
        return loss, P / len(y)

    def change(self, grads, X, dZ):
        return grads

    def updated(self, name, before, after):
        return after

    def forward(self, X):
        """Z and its rectified values, the slope there, and the logits: a buffer of that size."""
        s = self.state
        Z = X @ s["W1"] + s["b1"]
        H, slope = self.hidden(Z)
        logits = self.buffers.setdefault(len(X), np.empty((len(X), len(s["b2"])), self.dtype))
        np.add(H @ s["W2"], s["b2"], out=logits)
        return Z, H, slope, logits

    def outputs(self, batch, *, training):
        return self.forward(batch["x"])[-1].copy()

    def trace(self, batch):
        Z, H, _, logits = self.forward(batch["x"])
        return {"z1": Z, "h1": H, "logits": logits.copy()}

    def loss_and_grads(self, batch):
        X = batch["x"]
        _, H, slope, logits = self.forward(X)
        loss, error = self.objective(logits, batch["y"])
        dZ = (error @ self.state["W2"].T) * slope
        grads = {"W1": X.T @ dZ, "b1": dZ.sum(axis=0), "W2": H.T @ error, "b2": error.sum(axis=0)}
        return loss, self.change({n: g.astype(self.dtype) for n, g in grads.items()}, X, dZ)

    def step(self, batch):
        loss, grads = Trainer.loss_and_grads(self, batch)
        lr = np.dtype(self.dtype).type(self.workload.optimiser.lr)
        for name, grad in grads.items():
            before = self.state[name]
            self.state[name][...] = self.updated(name, before.copy(), before - lr * grad)
        return loss

    def wait(self, loss):
        return loss

    def close(self):
        self.state, self.buffers = {}, {}


class Broken(room.Backend):
    """The NumPy backend, unless a subclass says otherwise; its trainers are of `kind`."""

    fails: ClassVar[str]
    kind: ClassVar[type] = Trainer

    def __init__(self, device, dtype, threads, variant, precision="strict"):
        self.begin(dtype)
        super().__init__(device, dtype, threads, "buffered", precision)

    def begin(self, dtype):
        """What happens before anything else."""

    def trainer(self, workload):
        super().trainer(workload).close()  # refuses what it does not know
        return self.kind(self, workload)


def broken(fails: str):
    """Say which check fails; of a trainer class a Broken backend is made, with its docstring."""

    def make(kind: type) -> type:
        if issubclass(kind, Broken):
            kind.fails = fails
            return kind
        body = {"fails": fails, "kind": kind}
        body |= {name: getattr(kind, name) for name in ("__doc__", "__module__")}
        return type(kind.__name__, (Broken,), body)

    return make
