"""Backends that compute something else."""

from __future__ import annotations

import numpy as np
from shared import OtherUpdate, Trainer, broken


def rounded(values, bits):
    """Values with so many bits of significand, to nearest."""
    significand, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(significand, bits)), exponent - bits).astype(values.dtype)


class OtherModel(Trainer):
    """A trainer whose forward pass or loss can be replaced; everything is computed anew.

    A subclass says what differs: `hidden` of a pre-activation with its derivative, `objective` of
    logits and labels with its gradient, `change` of the gradients.
    """

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

    def outputs(self, X):
        m = self.model
        H, slope = self.hidden(X @ m.W1 + m.b1)
        return H, slope, H @ m.W2 + m.b2

    def logits(self, batch):
        return self.outputs(batch[0])[2]

    def loss_and_grads(self, batch):
        X, y = batch
        H, slope, logits = self.outputs(X)
        loss, error = self.objective(logits, y)
        dZ = (error @ self.model.W2.T) * slope
        grads = {"W1": X.T @ dZ, "b1": dZ.sum(axis=0), "W2": H.T @ error, "b2": error.sum(axis=0)}
        return loss, self.change({n: g.astype(self.dtype) for n, g in grads.items()}, X, dZ)

    def step(self, batch):
        loss, grads = self.loss_and_grads(batch)
        for name, grad in grads.items():
            parameter = getattr(self.model, name)
            parameter -= self.model.W1.dtype.type(self.workload.lr) * grad
        return loss


@broken("logits")
class LeakyReLU(OtherModel):
    """ReLU has slope 1e-3 below 0."""

    def hidden(self, Z):
        slope = np.where(Z > 0, 1, 1e-3).astype(Z.dtype)
        return Z * slope, slope


@broken("logits")
class RoundedProduct(OtherModel):
    """The pixels of the first product are rounded to TF32."""

    def outputs(self, X):
        return super().outputs(rounded(X, 11))


@broken("logits")
class Float64InFloat32(OtherModel):
    """In float64 the logits are computed in float32, without a word."""

    def logits(self, batch):
        X, m = batch[0].astype(np.float32), self.model
        W1, b1, W2, b2 = (a.astype(np.float32) for a in (m.W1, m.b1, m.W2, m.b2))
        return (np.maximum(X @ W1 + b1, 0) @ W2 + b2).astype(self.dtype)


@broken("logits")
class WrongTail(OtherModel):
    """The last row of a batch of 7 is not computed."""

    def logits(self, batch):
        found = super().logits(batch)
        if len(found) == 7:
            found[-1] = 0
        return found


@broken("loss")
class SummedLoss(OtherModel):
    """The loss is the sum over the batch, not the mean."""

    def objective(self, logits, y):
        loss, error = super().objective(logits, y)
        return loss * len(y), error * len(y)


@broken("loss")
class ShortBatchBy256(OtherModel):
    """The mean of a short batch is taken over 256."""

    def objective(self, logits, y):
        loss, error = super().objective(logits, y)
        return loss * len(y) / 256, error * len(y) / 256


@broken("finite-differences")
class NoGradientOfB1(OtherModel):
    """The gradient of b1 is missing: 0."""

    def change(self, grads, X, dZ):
        return grads | {"b1": 0 * grads["b1"]}


@broken("finite-differences")
class GradientOfTheSum(OtherModel):
    """The loss is the mean, the gradients are those of the sum."""

    def change(self, grads, X, dZ):
        return {name: grad * len(X) for name, grad in grads.items()}


@broken("gradients")
class RoundedBackward(OtherModel):
    """In float32 the operands of W1's gradient are rounded to TF32."""

    def change(self, grads, X, dZ):
        if self.dtype == "float64":
            return grads
        return grads | {"W1": rounded(X, 11).T @ rounded(dZ, 11)}


@broken("gradients")
class GradientInFloat32(OtherModel):
    """In float64 the gradient of W2 is computed in float32."""

    def change(self, grads, X, dZ):
        return grads | {"W2": grads["W2"].astype(np.float32).astype(self.dtype)}


@broken("update")
class LearningRateOff(OtherUpdate):
    """The learning rate is off by one per mille."""

    def updated(self, name, before, after):
        return before + (after - before) * 1.001


@broken("update")
class NoUpdate(OtherUpdate):
    """A step computes and changes nothing."""

    def updated(self, name, before, after):
        return before


@broken("update")
class WeightDecay(OtherUpdate):
    """A weight decay of 1e-3 that nobody asked for."""

    def updated(self, name, before, after):
        return after - self.workload.lr * 1e-3 * before


@broken("step-loss")
class LossAfterTheUpdate(Trainer):
    """A step tells the loss after its update."""

    def step(self, batch):
        super().step(batch)
        return self.loss_and_grads(batch)[0]


@broken("corner")
class SlopeOneAtZero(OtherModel):
    """ReLU has derivative 1 at 0."""

    def hidden(self, Z):
        return np.maximum(Z, 0), Z >= 0


@broken("shifted")
class NoMaximumSubtracted(OtherModel):
    """The softmax does not subtract the largest logit: it overflows."""

    def objective(self, logits, y):
        rows, P = np.arange(len(y)), np.exp(logits)
        total = P.sum(axis=1, keepdims=True)
        P /= total
        loss = float((np.log(total[:, 0]) - logits[rows, y]).mean())
        P[rows, y] -= 1
        return loss, P / len(y)


@broken("confident")
class ClippedProbability(OtherModel):
    """Probabilities are clipped at 1e-12 before their logarithm is taken."""

    def objective(self, logits, y):
        _, error = super().objective(logits, y)
        Z = logits - logits.max(axis=1, keepdims=True)
        log_P = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
        chosen = log_P[np.arange(len(y)), y]
        return float(-np.maximum(chosen, np.log(1e-12)).mean()), error
