"""Wrong numbers, one fault a function, planted in a real backend inside its worker.

Where a fault lives in the model, the backend's own module is changed; where it lives in the
training loop, the trainer is wrapped. Each is planted in every dtype.
"""

from __future__ import annotations

import importlib

import msgspec
import numpy as np

from tests.faults.callers import Wrapped, wrap


def _module(backend):
    return importlib.import_module(f"backends.{backend.name}.mlp_scratch")


def _framework(backend):
    """The array namespace, for the few operations the faults need."""
    if backend.name == "torch":
        import torch

        return torch
    if backend.name == "jax":
        import jax.numpy

        return jax.numpy
    return np


# -- inputs --------------------------------------------------------------------------------------


def labels_shifted(backend):
    """Every label belongs to the sample before."""

    class Shifted(Wrapped):
        def put(self, x, y):
            return self.trainer.put(x, np.roll(y, 1))

    return wrap(backend, Shifted)


def pixels_bfloat16(backend):
    """Pixels lose their last sixteen bits."""

    class Rounded(Wrapped):
        def put(self, x, y):
            narrow = (x.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
            return self.trainer.put(narrow.astype(x.dtype), y)

    return wrap(backend, Rounded)


# -- forward -------------------------------------------------------------------------------------


def leaky_relu(backend):
    """Slope 1e-3 below zero."""
    xp = _framework(backend)
    _module(backend).relu = lambda X: xp.where(X > 0, X, 1e-3 * X)


def bias_twice(backend):
    """The output's bias is added twice."""
    model = _module(backend).MLPScratch
    forward = model.forward
    model.forward = lambda self, X: forward(self, X) + self.b2


def float64_in_float32(backend):
    """Logits pass through float32, whatever the dtype."""

    class Narrow(Wrapped):
        def logits(self, batch):
            found = self.trainer.logits(batch)
            return found.astype(np.float32).astype(found.dtype)

    return wrap(backend, Narrow)


# -- loss ----------------------------------------------------------------------------------------


def _rows(y):
    return np.arange(len(y))


def loss_summed(backend):
    """Summed over the batch, not averaged."""
    module = _module(backend)
    loss = module.loss
    module.loss = lambda Y_hat, y: loss(Y_hat, y) * len(y)


def short_batch_by_256(backend):
    """Every batch is divided by the full batch size."""
    module = _module(backend)
    loss = module.loss
    module.loss = lambda Y_hat, y: loss(Y_hat, y) * (len(y) / 256)


def epsilon_in_log(backend):
    """The logarithm of p + 1e-7."""
    xp = _framework(backend)

    def loss(Y_hat, y):
        p = xp.exp(Y_hat - Y_hat.max())
        p = p / p.sum(1)[:, None]
        return -xp.log(p[_rows(y), y] + 1e-7).mean()

    _module(backend).loss = loss


def softmax_without_shift(backend):
    """The exponential of the logits as they are."""
    xp = _framework(backend)

    def loss(Y_hat, y):
        with np.errstate(all="ignore"):
            p = xp.exp(Y_hat)
            return -xp.log(p[_rows(y), y] / p.sum(1)).mean()

    _module(backend).loss = loss


# -- gradients -----------------------------------------------------------------------------------


def no_gradient_of_b1(backend):
    """The hidden layer's bias never learns."""
    module = _module(backend)
    original = module.loss_and_grads

    def loss_and_grads(model, *batch, **words):
        value, grads = original(model, *batch, **words)
        grads["b1"] *= 0
        return value, grads

    module.loss_and_grads = loss_and_grads


def relu_slope_1_at_0(backend):
    """The derivative of max(X, 0) at 0 is 1."""
    xp = _framework(backend)
    _module(backend).relu = lambda X: xp.where(X >= 0, X, 0 * X)


# -- update --------------------------------------------------------------------------------------


def _learning_rate(factor):
    def fault(backend):
        original = backend.trainer
        backend.trainer = lambda workload: original(
            msgspec.structs.replace(workload, lr=workload.lr * factor)
        )

    fault.__doc__ = f"The learning rate times {factor}."
    return fault


lr_one_per_mille = _learning_rate(1.001)
lr_one_in_a_billion = _learning_rate(1 + 1e-9)


def no_update(backend):
    """A step that computes, and changes nothing."""

    class Idle(Wrapped):
        def step(self, batch):
            return self.trainer.loss_and_grads(batch)[0]

        def wait(self, loss):
            return loss

    return wrap(backend, Idle)


# -- lockstep ------------------------------------------------------------------------------------


class Counting(Wrapped):
    """Knows how many steps were done since the parameters were set."""

    done = 0

    def set_params(self, params):
        self.done = 0
        self.trainer.set_params(params)


def momentum(backend):
    """Momentum 0.01 on top of plain SGD; the first step is unharmed."""

    class Moving(Counting):
        def step(self, batch):
            before = self.trainer.get_params()
            loss = self.trainer.step(batch)
            value = self.trainer.wait(loss)
            after = self.trainer.get_params()
            if self.done:
                after = {k: after[k] + 0.01 * self.velocity[k] for k in after}
                self.trainer.set_params({k: v.astype(before[k].dtype) for k, v in after.items()})
            self.velocity = {k: after[k] - before[k] for k in after}
            self.done += 1
            return value

        def wait(self, loss):
            return loss

    return wrap(backend, Moving)


def every_tenth_batch_ignored(backend):
    """The tenth batch, and every tenth after it, changes nothing."""

    class Forgetful(Counting):
        def step(self, batch):
            self.done += 1
            if self.done % 10 == 0:
                return self.trainer.loss_and_grads(batch)[0]
            return self.trainer.wait(self.trainer.step(batch))

        def wait(self, loss):
            return loss

    return wrap(backend, Forgetful)
