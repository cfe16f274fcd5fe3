"""Wrong numbers, one fault a function, planted in a real backend inside its worker.

They are of the MLP with one hidden layer; those that any workload can have are in generic.py. A
fault of the model changes the framework's own file of it, which is looked up when the trainer is
built or called; one of the training loop wraps the trainer. Each is planted in every dtype and
written once for all frameworks, in the names that their array namespaces share.
"""

from __future__ import annotations

import importlib

import msgspec
import numpy as np
from callers import Regraded, Stepping, Wrapped, wrap

NAMES = ("W1", "b1", "W2", "b2")


def _module(backend):
    return importlib.import_module(f"backends.{backend.name}.mlp_scratch")


def _model(backend):
    """The class of the model, in the default variant."""
    return getattr(_module(backend), "Buffered" if backend.name == "numpy" else "MLPScratch")


def _namespace(backend):
    """The framework's array functions under NumPy's names."""
    name = {"jax": "jax.numpy", "tensorflow": "tensorflow.experimental.numpy"}
    return importlib.import_module(name.get(backend.name, backend.name))


def _rounded(X, bits):
    """X with `bits` bits of significand: Veltkamp's splitting (Dekker 1971), float32 or float64."""
    spare = (53 if "64" in str(X.dtype) else 24) - bits
    C = X * (2.0**spare + 1)
    return C - (C - X)


TF32, BFLOAT16, FLOAT32 = 11, 8, 24  # bits of significand, the leading one included


# -- inputs --------------------------------------------------------------------------------------


def _change_put(backend, change):
    """Let what is put on the device be `change(x, y)`."""

    class Changed(Wrapped):
        def put(self, batch):
            x, y = change(batch["x"], batch["y"])
            return self.trainer.put(batch | {"x": x, "y": y})

    return wrap(backend, Changed)


def labels_shifted(backend):
    """In a batch that is not full, every label belongs to the sample before."""
    return _change_put(backend, lambda x, y: (x, np.roll(y, 1) if len(y) % 256 else y))


def pixels_bfloat16(backend):
    """Pixels are rounded to bfloat16 on their way to the device."""
    return _change_put(backend, lambda x, y: (_rounded(x, BFLOAT16), y))


def rows_permuted(backend):
    """The rows of every batch are permuted against their labels."""
    return _change_put(backend, lambda x, y: (np.roll(x, 1, axis=0), y))


def w1_transposed(backend):
    """W1 is transposed on import; only a square one goes in at all."""

    class Transposed(Wrapped):
        def set_state(self, state):
            self.trainer.set_state(state | {"W1": state["W1"].T})

    return wrap(backend, Transposed)


# -- forward -------------------------------------------------------------------------------------


def _weight(model, name):
    """A parameter as the model's `forward` sees it; Flax keeps it outside the model."""
    if hasattr(model, "get_variable"):
        return model.get_variable("params", name)
    return getattr(model, name)


def _change_relu(backend, relu):
    """Let `relu` be the model's."""
    _module(backend).relu = relu
    if backend.name == "numpy":  # which has it in place
        _change_hidden(backend, lambda X, W1, b1: relu(X @ W1 + b1))


def _change_hidden(backend, hidden):
    """Let the hidden layer's values be `hidden(X, W1, b1)`."""

    right = _model(backend).forward

    def forward(self, X):
        if getattr(self, "is_initializing", bool)():  # Flax asks what there is: its shapes
            return right(self, X)
        W1, b1, W2, b2 = (_weight(self, name) for name in NAMES)
        H = hidden(X, W1, b1)
        if backend.name == "numpy":  # its gradients read H from this buffer
            np.copyto(self.buffer("H", len(X)), H)
        return H @ W2 + b2

    _model(backend).forward = forward


def _change_logits(backend, change):
    """Let the model's logits be `change(logits, b2)`."""
    model = _model(backend)
    forward = model.forward
    model.forward = lambda self, X: change(forward(self, X), _weight(self, "b2"))


def _round_first_product(backend, bits):
    """Round both operands of X @ W1."""
    relu = _module(backend).relu
    _change_hidden(backend, lambda X, W1, b1: relu(_rounded(X, bits) @ _rounded(W1, bits) + b1))


def leaky_relu(backend):
    """ReLU has slope 1e-3 below zero."""
    xp = _namespace(backend)
    _change_relu(backend, lambda X: xp.where(X > 0, X, 1e-3 * X))


def tf32_forward(backend):
    """The operands of X @ W1 are rounded to TF32."""
    _round_first_product(backend, TF32)


def bfloat16_forward(backend):
    """The operands of X @ W1 are rounded to bfloat16."""
    _round_first_product(backend, BFLOAT16)


def bias_twice(backend):
    """The output layer's bias is added twice."""
    _change_logits(backend, lambda logits, b2: logits + b2)


def float64_in_float32(backend):
    """Logits are rounded to float32, whatever the dtype."""
    _change_logits(backend, lambda logits, b2: _rounded(logits, FLOAT32))


# -- loss ----------------------------------------------------------------------------------------


def _change_loss(backend, change):
    """Let the mean loss of n samples be `change(loss, n)`."""
    module = _module(backend)
    loss = module.loss
    module.loss = lambda Y_hat, y: change(loss(Y_hat, y), len(y))


def _chosen(xp, rows, y):
    """The entry of each row at its label: (n,)."""
    labels = xp.arange(rows.shape[1], dtype=y.dtype)
    return xp.sum(xp.where(y[:, None] == labels, rows, 0 * rows), axis=1)


def _softmax(xp, Y_hat):
    P = xp.exp(Y_hat - xp.amax(Y_hat, axis=1)[:, None])
    return P / xp.sum(P, axis=1)[:, None]


def loss_summed(backend):
    """The loss is summed over the batch, not averaged."""
    _change_loss(backend, lambda loss, n: loss * n)


def short_batch_by_256(backend):
    """The sum over a short batch is divided by the full batch size."""
    _change_loss(backend, lambda loss, n: loss * (n / 256))


def epsilon_in_log(backend):
    """The loss is the logarithm of p + 1e-7."""
    xp = _namespace(backend)
    _module(backend).loss = lambda Y_hat, y: (
        -xp.mean(xp.log(_chosen(xp, _softmax(xp, Y_hat), y) + 1e-7))
    )


def softmax_without_shift(backend):
    """The softmax takes the exponential of the logits as they are."""
    xp = _namespace(backend)

    def loss(Y_hat, y):
        E = xp.exp(Y_hat)
        return -xp.mean(xp.log(_chosen(xp, E, y) / xp.sum(E, axis=1)))

    _module(backend).loss = loss


# -- gradients -----------------------------------------------------------------------------------


def _change_grads(backend, change):
    """Replace the gradients that `change(grads, state, X, y, lr)` names, in NumPy."""

    class Changed(Regraded):
        def regrade(self, grads, state, batch):
            lr = state["W1"].dtype.type(self.workload.optimiser.lr)
            return change(grads, state, batch["x"], batch["y"], lr)

    return wrap(backend, Changed)


def _hidden_error(state, X, y, W2):
    """The loss's derivative at the hidden layer before ReLU (n, hiddens), sent back through W2."""
    Z = X @ state["W1"] + state["b1"]
    error = _softmax(np, np.maximum(Z, 0) @ state["W2"] + state["b2"])
    error[np.arange(len(y)), y] -= 1
    return (error / len(X)) @ W2.T * (Z > 0)


def no_gradient_of_b1(backend):
    """The gradient of b1 is missing: 0."""
    return _change_grads(backend, lambda grads, *_: {"b1": 0 * grads["b1"]})


def no_gradient_of_b2(backend):
    """The gradient of b2 is missing: 0."""
    return _change_grads(backend, lambda grads, *_: {"b2": 0 * grads["b2"]})


def relu_slope_1_at_0(backend):
    """ReLU has derivative 1 at 0."""
    xp = _namespace(backend)
    _change_relu(backend, lambda X: xp.where(X >= 0, X, 0 * X))


def w2_updated_too_early(backend):
    """The gradients of W1 and b1 are sent back through the W2 that is updated already."""

    def change(grads, state, X, y, lr):
        dZ = _hidden_error(state, X, y, state["W2"] - lr * grads["W2"])
        return {"W1": X.T @ dZ, "b1": dZ.sum(axis=0)}

    return _change_grads(backend, change)


def gradient_of_the_sum(backend):
    """The loss is the mean, the gradients are those of the sum."""
    return _change_grads(
        backend, lambda grads, _, X, *__: {k: g * len(X) for k, g in grads.items()}
    )


def tf32_backward(backend):
    """The operands of W1's gradient, a product, are rounded to TF32."""

    def change(grads, state, X, y, lr):
        dZ = _hidden_error(state, X, y, state["W2"])
        return {"W1": _rounded(X, TF32).T @ _rounded(dZ, TF32)}

    return _change_grads(backend, change)


# -- update --------------------------------------------------------------------------------------


def _change_learning_rate(backend, factor):
    original = backend.trainer

    def trainer(workload):
        optimiser = workload.optimiser
        faster = msgspec.structs.replace(optimiser, lr=optimiser.lr * factor)
        return original(msgspec.structs.replace(workload, optimiser=faster))

    backend.trainer = trainer


def lr_one_per_mille(backend):
    """The learning rate is off by 1e-3 of itself."""
    _change_learning_rate(backend, 1 + 1e-3)


def lr_one_in_a_million(backend):
    """The learning rate is off by 1e-6 of itself."""
    _change_learning_rate(backend, 1 + 1e-6)


def lr_one_in_a_billion(backend):
    """The learning rate is off by 1e-9 of itself."""
    _change_learning_rate(backend, 1 + 1e-9)


def _decay(backend, weight_decay):
    class Decaying(Stepping):
        def do(self, batch):
            loss, before, _ = self.change(batch)
            after, lr = self.trainer.get_state(), self.workload.optimiser.lr
            self.trainer.set_state({k: after[k] - lr * weight_decay * before[k] for k in after})
            return loss

    return wrap(backend, Decaying)


def weight_decay(backend):
    """Weight decay of 1e-5 that nobody asked for."""
    return _decay(backend, 1e-5)


def weight_decay_tiny(backend):
    """Weight decay of 1e-8 that nobody asked for."""
    return _decay(backend, 1e-8)


def no_update(backend):
    """A step computes, and changes nothing."""

    class Idle(Stepping):
        def do(self, batch):
            return self.do_nothing(batch)

    return wrap(backend, Idle)


# -- lockstep ------------------------------------------------------------------------------------


def _carried_over(backend, share_of):
    """To what a step adds comes `share_of(done)` of what the step before added."""

    class Carrying(Stepping):
        def do(self, batch):
            loss, before, change = self.change(batch)
            if self.done and (share := share_of(self.done)):
                change = {k: v + share * self.last[k] for k, v in change.items()}
                self.trainer.set_state({k: before[k] + v for k, v in change.items()})
            self.last = change
            return loss

    return wrap(backend, Carrying)


def momentum(backend):
    """Momentum of 0.01; the first step is unharmed."""
    return _carried_over(backend, lambda done: 0.01)


def gradient_kept_once(backend):
    """Before the third step the gradient of the second is not reset."""
    return _carried_over(backend, lambda done: 1.0 if done == 2 else 0.0)


def stale_parameters(backend):
    """Every gradient but the first is taken at the parameters of one step before."""

    class Stale(Stepping):
        def do(self, batch):
            now = self.trainer.get_state()
            older = self.older if self.done else now
            self.trainer.set_state(older)
            loss = self.do_right(batch)
            moved = self.trainer.get_state()
            self.trainer.set_state({k: now[k] + (moved[k] - older[k]) for k in now})
            self.older = now
            return loss

    return wrap(backend, Stale)


def every_tenth_update_twice(backend):
    """The tenth update, and every tenth after it, is applied twice."""

    class Eager(Stepping):
        def do(self, batch):
            loss, before, change = self.change(batch)
            if self.done % 10 == 9:
                self.trainer.set_state({k: before[k] + 2 * change[k] for k in before})
            return loss

    return wrap(backend, Eager)


def every_tenth_batch_ignored(backend):
    """The tenth batch, and every tenth after it, changes nothing."""

    class Forgetful(Stepping):
        def do(self, batch):
            return self.do_nothing(batch) if self.done % 10 == 9 else self.do_right(batch)

    return wrap(backend, Forgetful)
