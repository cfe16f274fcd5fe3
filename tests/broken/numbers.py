"""Backends that compute something else."""

from __future__ import annotations

import numpy as np
from shared import Trainer, broken


def rounded(values, bits):
    """Values with so many bits of significand, to nearest."""
    significand, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(significand, bits)), exponent - bits).astype(values.dtype)


@broken("outputs")
class LeakyReLU(Trainer):
    """ReLU has slope 1e-3 below 0."""

    def hidden(self, Z):
        slope = np.where(Z > 0, 1, 1e-3).astype(Z.dtype)
        return Z * slope, slope


@broken("outputs")
class RoundedProduct(Trainer):
    """The pixels of the first product are rounded to TF32."""

    def forward(self, X):
        return super().forward(rounded(X, 11))


@broken("outputs")
class Float64InFloat32(Trainer):
    """In float64 the outputs are computed in float32, without a word."""

    def outputs(self, batch, *, training):
        held = self.state
        self.state = {name: value.astype(np.float32) for name, value in held.items()}
        try:
            found = self.forward(batch["x"].astype(np.float32))[-1]
            return found.astype(np.float32).astype(self.dtype)
        finally:
            self.state = held


@broken("outputs")
class WrongTail(Trainer):
    """The last row of a batch of 7 is not computed."""

    def outputs(self, batch, *, training):
        found = super().outputs(batch, training=training)
        if len(found) == 7:
            found[-1] = 0
        return found


@broken("trace")
class RectifiedTwice(Trainer):
    """What is shown before the ReLU stands behind it."""

    def trace(self, batch):
        shown = super().trace(batch)
        return shown | {"z1": shown["h1"].copy()}


@broken("trace")
class ShowsWhatIsNotAsked(Trainer):
    """A value is shown that no workload names."""

    def trace(self, batch):
        return super().trace(batch) | {"attention": batch["x"].copy()}


@broken("loss")
class SummedLoss(Trainer):
    """The loss is the sum over the batch, not the mean."""

    def objective(self, logits, y):
        loss, error = super().objective(logits, y)
        return loss * len(y), error * len(y)


@broken("loss")
class ShortBatchBy256(Trainer):
    """The mean of a short batch is taken over 256."""

    def objective(self, logits, y):
        loss, error = super().objective(logits, y)
        return loss * len(y) / 256, error * len(y) / 256


@broken("finite-differences")
class NoGradientOfB1(Trainer):
    """The gradient of b1 is missing: 0."""

    def change(self, grads, X, dZ):
        return grads | {"b1": 0 * grads["b1"]}


@broken("finite-differences")
class GradientOfTheSum(Trainer):
    """The loss is the mean, the gradients are those of the sum."""

    def change(self, grads, X, dZ):
        return {name: grad * len(X) for name, grad in grads.items()}


@broken("gradients")
class RoundedBackward(Trainer):
    """In float32 the operands of W1's gradient are rounded to TF32."""

    def change(self, grads, X, dZ):
        if self.dtype == "float64":
            return grads
        return grads | {"W1": rounded(X, 11).T @ rounded(dZ, 11)}


@broken("gradients")
class GradientInFloat32(Trainer):
    """In float64 the gradient of W2 is computed in float32."""

    def change(self, grads, X, dZ):
        return grads | {"W2": grads["W2"].astype(np.float32).astype(self.dtype)}


@broken("update")
class LearningRateOff(Trainer):
    """The learning rate is off by one per mille."""

    def updated(self, name, before, after):
        return before + (after - before) * 1.001


@broken("update")
class NoUpdate(Trainer):
    """A step computes and changes nothing."""

    def updated(self, name, before, after):
        return before


@broken("update")
class WeightDecay(Trainer):
    """A weight decay of 1e-3 that nobody asked for."""

    def updated(self, name, before, after):
        return after - self.workload.optimiser.lr * 1e-3 * before


@broken("step-loss")
class LossAfterTheUpdate(Trainer):
    """A step tells the loss after its update."""

    def step(self, batch):
        super().step(batch)
        return self.loss_and_grads(batch)[0]


@broken("corner")
class SlopeOneAtZero(Trainer):
    """ReLU has derivative 1 at 0."""

    def hidden(self, Z):
        return np.maximum(Z, 0), Z >= 0


@broken("shifted")
class NoMaximumSubtracted(Trainer):
    """The softmax does not subtract the largest logit: it overflows."""

    def objective(self, logits, y):
        rows, P = np.arange(len(y)), np.exp(logits)
        total = P.sum(axis=1, keepdims=True)
        P /= total
        loss = float((np.log(total[:, 0]) - logits[rows, y]).mean())
        P[rows, y] -= 1
        return loss, P / len(y)


@broken("confident")
class ClippedProbability(Trainer):
    """Probabilities are clipped at 1e-12 before their logarithm is taken."""

    def objective(self, logits, y):
        _, error = super().objective(logits, y)
        Z = logits - logits.max(axis=1, keepdims=True)
        log_P = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
        chosen = log_P[np.arange(len(y)), y]
        return float(-np.maximum(chosen, np.log(1e-12)).mean()), error


@broken("far")
class CutOff(Trainer):
    """ReLU is cut off at 20, which no unit of the real data reaches."""

    def hidden(self, Z):
        return np.clip(Z, 0, 20), (Z > 0) & (Z < 20)
