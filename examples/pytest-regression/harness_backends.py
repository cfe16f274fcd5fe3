"""The library's two engines as the harness sees them: a backend each, its own code inside.

Loaded in workers only. What each method owes: docs/backend.md of framework-harness.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from threadpoolctl import threadpool_limits
from tinynet import Network

from backends.arguments import check_batch, check_state
from harness.interface import Unavailable


class Engine:
    """What both have in common; a subclass names its engine."""

    name = ""

    def __init__(self, device, dtype, threads, variant, precision="strict"):
        if (device, variant, precision) != ("cpu", "default", "strict"):
            raise Unavailable(f"tinynet has no {variant}, {precision} on {device}")
        self.dtype, self.threads = dtype, threads
        self.network = Network((1, 1), self.name, dtype)  # of no use but for its engine
        threadpool_limits(threads)

    def facts(self):
        return {
            f"version:{self.name}": version(self.name),
            "device": "cpu",
            "threads": str(self.threads),
        }

    def trainer(self, workload):
        wanted = ("mlp-scratch", "softmax-cross-entropy", "sgd")
        given = (workload.model, workload.loss, workload.optimiser.rule)
        if given != wanted:
            raise ValueError(f"tinynet knows {', '.join(wanted)} only, not {', '.join(given)}")
        return Trainer(self, workload)

    def op(self, name, *arrays, weights=None):
        if name != "matmul":
            raise Unavailable(f"tinynet has no operator {name}")
        a, b = (self.network.array(array) for array in arrays)
        product = self.network.engine.to_numpy(a @ b)
        w = self.network.array(np.ones_like(product) if weights is None else weights)
        return product, *map(self.network.engine.to_numpy, (w @ b.T, a.T @ w))

    def products(self, pairs):
        put = [(self.network.array(a), self.network.array(b)) for a, b in pairs]

        def compute():
            for a, b in put:
                a @ b

        return compute

    def peak_device_bytes(self):
        return None


class NumPyEngine(Engine):
    """The engine on NumPy."""

    name = "numpy"


class TorchEngine(Engine):
    """The engine on PyTorch."""

    name = "torch"

    def __init__(self, device, dtype, threads, variant, precision="strict"):
        super().__init__(device, dtype, threads, variant, precision)
        import torch

        torch.set_num_threads(threads)


class Trainer:
    """A network of the workload's widths, trained as the library trains."""

    def __init__(self, engine, workload):
        self.workload = workload
        widths = tuple(workload.sizes[f"num_{layer}"] for layer in ("inputs", "hiddens", "outputs"))
        self.rate = workload.optimiser.lr
        self.network = Network(widths, engine.name, engine.dtype)

    def set_state(self, state):
        check_state(state, self.workload)
        self.network.load([(state["W1"], state["b1"]), (state["W2"], state["b2"])])

    def get_state(self):
        return _named(self.network.dump())

    def put(self, batch):
        check_batch(batch, self.workload)
        return {"x": self.network.array(batch["x"]), "y": np.array(batch["y"])}

    def fetch(self, batch):
        x, y = self.network.engine.to_numpy(batch["x"]), batch["y"].astype(np.int64)
        return {"x": x, "y": y}

    def step(self, batch):
        return self.network.train_on(batch["x"], batch["y"], self.rate)

    def wait(self, loss):
        return loss  # both engines are done when they return

    def outputs(self, batch, *, training):  # noqa: ARG002 - the same in both modes
        return self.network.predict(batch["x"])

    def loss_and_grads(self, batch):
        loss, grads = self.network.gradients(batch["x"], batch["y"])
        return loss, _named(grads)

    def close(self):
        del self.network


def _named(layers):
    """Weights and biases, or their gradients, by their canonical names."""
    (w1, b1), (w2, b2) = layers
    return {"W1": w1, "b1": b1, "W2": w2, "b2": b2}
