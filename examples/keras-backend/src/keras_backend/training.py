"""The model, its training and single operators, as users of Keras write them.

Imports Keras: to be imported only once a `Backend` has chosen the engine. May import keras, NumPy
and, from the harness, `interface` and the checks of `backends.arguments` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from backends.arguments import check_batch, check_state
from harness.interface import Array, State, Unavailable, Workload

if TYPE_CHECKING:
    from keras_backend import KerasBackend

# The one model that there is here.
MODEL = "mlp-scratch"
# What the harness calls `model.weights`, in Keras' order; a Dense kernel is inputs x outputs too.
NAMES = ("W1", "b1", "W2", "b2")

Batch = dict[str, Any]


class Trainer:
    """Two Dense layers, compiled with SGD; a step is `train_on_batch`, all its defaults kept."""

    def __init__(self, backend: KerasBackend, workload: Workload) -> None:
        for what, value, known in (
            ("model", workload.model, MODEL),
            ("loss", workload.loss, "softmax-cross-entropy"),
            ("optimiser", workload.optimiser.rule, "sgd"),
        ):
            if value != known:
                raise ValueError(f"{backend.name}: unknown {what} {value!r}; known: {known}")
        self.backend = backend
        self.workload = workload
        dense = keras.layers.Dense
        self.model = keras.Sequential(
            [
                keras.Input(workload.x),
                dense(workload.sizes["num_hiddens"], activation="relu"),
                dense(workload.sizes["num_outputs"]),
            ]
        )
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = keras.optimizers.SGD(workload.optimiser.lr)
        self.model.compile(optimizer=optimizer, loss=self.loss)
        self.model.optimizer.build(self.model.trainable_variables)
        self.initial_state = [_fresh(v.value) for v in self.model.optimizer.variables]

    def set_state(self, state: State) -> None:
        """Copy `state` in; Keras' own variables of the optimiser are as they were at first."""
        check_state(state, self.workload)
        self.model.set_weights([np.array(state[name], self.backend.dtype) for name in NAMES])
        # Not by a new optimiser: Keras would trace and compile the step anew for it.
        for variable, value in zip(self.model.optimizer.variables, self.initial_state, strict=True):
            variable.assign(value)

    def get_state(self) -> State:
        """Fresh copies of the state."""
        return _named([variable.value for variable in self.model.weights])

    def put(self, batch: State) -> Batch:
        """x: (n, num_inputs) in the backend's dtype, y: int32 (n,); ValueError for others."""
        check_batch(batch, self.workload)
        held = {"x": _put(batch["x"], self.backend.dtype), "y": _put(batch["y"], np.int32)}
        self.backend.finish([*held.values()])
        return held

    def fetch(self, batch: Batch) -> State:
        """Fresh copies of what `put` stored; y: int64."""
        return {"x": _fresh(batch["x"]), "y": _fresh(batch["y"]).astype(np.int64)}

    def step(self, batch: Batch) -> float:
        """One update; `train_on_batch` returns the mean loss before it as a number."""
        return self.model.train_on_batch(batch["x"], batch["y"])

    def wait(self, loss: float) -> float:
        """Block until the newest parameters are there; the mean loss in nats."""
        self.backend.finish([variable.value for variable in self.model.variables])
        return float(loss)

    def outputs(self, batch: Batch, *, training: bool) -> Array:  # noqa: ARG002 - one mode
        """Logits (n, num_outputs), fresh."""
        return np.array(self.model.predict_on_batch(batch["x"]))

    def loss_and_grads(self, batch: Batch) -> tuple[float, State]:
        """Mean loss in nats and fresh gradients; nothing is updated."""

        def loss(*weights: Any) -> Any:
            logits, _ = self.model.stateless_call(weights, [], batch["x"])
            return self.loss(batch["y"], logits)

        weights = [variable.value for variable in self.model.trainable_variables]
        value, gradients = self.backend.vjp(loss, *weights)
        return float(value), _named(gradients(keras.ops.ones_like(value)))

    def close(self) -> None:
        """Drop the model, with its optimiser and its compiled functions."""
        del self.model


OPERATORS: dict[str, Callable[..., Any]] = {
    "matmul": keras.ops.matmul,
    "relu": keras.ops.relu,
    "sigmoid": keras.ops.sigmoid,
    "tanh": keras.ops.tanh,
    "softmax": keras.ops.softmax,
    "log_softmax": keras.ops.log_softmax,
    "cross_entropy": lambda x, y: keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
        y, x
    ),
    "squared_error": lambda a, b: keras.losses.MeanSquaredError()(a, b) / 2,
}


def value_and_derivatives(
    backend: KerasBackend, name: str, *arrays: Array, weights: Array | None = None
) -> tuple[Array, ...]:
    """What `harness.interface.Backend.op` owes; labels come after the floating arguments."""
    if name.removesuffix("/scratch") not in OPERATORS:
        raise ValueError(f"unknown operator {name!r}; known: {', '.join(OPERATORS)}")
    if name not in OPERATORS:
        raise Unavailable(f"{backend.name} has Keras' own operators only, not {name}")
    floats = [_put(array, backend.dtype) for array in arrays if array.dtype.kind == "f"]
    labels = [_put(array, np.int32) for array in arrays if array.dtype.kind != "f"]
    value, gradients = backend.vjp(lambda *given: OPERATORS[name](*given, *labels), *floats)
    given = keras.ops.ones_like(value) if weights is None else _put(weights, backend.dtype)
    if given.shape != value.shape:
        raise ValueError(f"weights: shape {tuple(given.shape)}, value {tuple(value.shape)}")
    return _fresh(value), *map(_fresh, gradients(given))


def _put(array: Array, dtype: Any) -> Any:
    """A copy as a tensor; made by NumPy, since an engine may share the memory it is given."""
    return keras.ops.convert_to_tensor(np.array(array, dtype, order="C"))


def _fresh(tensor: Any) -> Array:
    """A copy on the host that shares no memory with `tensor`."""
    return np.array(keras.ops.convert_to_numpy(tensor))


def _named(tensors: Sequence[Any]) -> State:
    """Copies of the four tensors, by the harness's names."""
    return {name: _fresh(tensor) for name, tensor in zip(NAMES, tensors, strict=True)}
