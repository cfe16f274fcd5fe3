"""Backends whose steps are queued, made at once, or waited for in a wrong way."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from shared import Broken, Trainer, broken


@broken("run")
class RunLeavesOneOut(Trainer):
    """Many steps at once are one less."""

    def run(self, batches):
        losses = [self.step(batch) for batch in batches[:-1]]
        return [*losses, self.loss_and_grads(batches[-1])[0]]


@broken("run")
class RunTellsTheLastLoss(Trainer):
    """Of many steps only the last one's loss is told, for each."""

    def run(self, batches):
        return [[self.step(batch) for batch in batches][-1]] * len(batches)


@broken("loss-handles")
class OneHandle(Trainer):
    """The handle is the trainer: it tells the loss of the newest step."""

    def step(self, batch):
        self.newest = super().step(batch)
        return self

    def wait(self, loss):
        return loss.newest


class Queueing(Trainer):
    """Steps are done by a thread, one after the other; everything but `wait` waits for all."""

    def __init__(self, backend, workload):
        super().__init__(backend, workload)
        self.queue = ThreadPoolExecutor(1)
        self.last = self.queue.submit(float)

    def step(self, batch):
        def work():
            loss = super(Queueing, self).step(batch)
            time.sleep(0.01)
            return loss

        self.last = self.queue.submit(work)
        return self.last

    def __getattribute__(self, name):
        if name in ("set_state", "get_state", "outputs", "loss_and_grads", "trace"):
            self.last.result()
        return super().__getattribute__(name)

    def close(self):
        self.queue.shutdown()
        super().close()


@broken("wait")
class WaitsForTheLossOnly(Queueing):
    """The loss is there before the update: wait returns when the loss is."""

    def step(self, batch):
        loss = self.queue.submit(lambda: Trainer.loss_and_grads(self, batch)[0])
        super().step(batch)
        return loss

    def wait(self, loss):
        return loss.result()


@broken("matmul")
class RoundedOperator(Broken):
    """A product of single operators rounds its operands to 16 bits."""

    def op(self, name, *arrays, weights=None):
        if name == "matmul":
            arrays = [a.astype(np.float32).view(np.uint32) & 0xFFFFFF00 for a in arrays]
            arrays = [a.view(np.float32) for a in arrays]
        return super().op(name, *arrays, weights=weights)


@broken("matmul")
class AnyOperator(Broken):
    """An operator that is none gives its argument back."""

    def op(self, name, *arrays, weights=None):
        try:
            return super().op(name, *arrays, weights=weights)
        except ValueError:
            return arrays


@broken("products")
class NoProducts(Broken):
    """The products are not computed: the floor of a step's time would be 0."""

    def products(self, pairs):
        return lambda: None
