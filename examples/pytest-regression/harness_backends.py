"""The library's two engines as the harness sees them: a backend each, its own code inside.

Loaded in workers only. What each method owes: docs/backend.md of framework-harness.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from threadpoolctl import threadpool_limits
from tinynet import Network

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
        wanted = ("MLPScratch", "softmax-cross-entropy", "sgd")
        if (workload.model, workload.loss, workload.optimiser) != wanted:
            raise ValueError(f"tinynet knows {', '.join(wanted)} only")
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
        self.sizes = {p.name: p.shape for p in workload.parameters}
        widths = tuple(workload.sizes[f"num_{layer}"] for layer in ("inputs", "hiddens", "outputs"))
        self.rate = workload.lr
        self.network = Network(widths, engine.name, engine.dtype)

    def set_params(self, params):
        if {name: np.shape(value) for name, value in params.items()} != self.sizes:
            raise ValueError(f"parameters are {self.sizes}")
        self.network.load([(params["W1"], params["b1"]), (params["W2"], params["b2"])])

    def get_params(self):
        return _named(self.network.dump())

    def put(self, x, y):
        if x.ndim != 2 or x.shape[1] != self.network.widths[0] or y.shape != (len(x),):
            raise ValueError(f"x {x.shape} and y {y.shape} are no batch")
        return self.network.array(x), np.array(y)

    def fetch(self, batch):
        return self.network.engine.to_numpy(batch[0]), batch[1].astype(np.int64)

    def step(self, batch):
        return self.network.train_on(*batch, self.rate)

    def wait(self, loss):
        return loss  # both engines are done when they return

    def logits(self, batch):
        return self.network.predict(batch[0])

    def loss_and_grads(self, batch):
        loss, grads = self.network.gradients(*batch)
        return loss, _named(grads)

    def close(self):
        del self.network


def _named(layers):
    """Weights and biases, or their gradients, by their canonical names."""
    (w1, b1), (w2, b2) = layers
    return {"W1": w1, "b1": b1, "W2": w2, "b2": b2}
