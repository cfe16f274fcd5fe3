"""The model, its training and single operators, as users of Keras write them.

Imports Keras: to be imported only once a `Backend` has chosen the engine. May import keras, NumPy
and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from harness.interface import Array, Params, Unavailable, Workload

if TYPE_CHECKING:
    from keras_backend import KerasBackend

# What the harness calls `model.weights`, in Keras' order; a Dense kernel is inputs x outputs too.
NAMES = ("W1", "b1", "W2", "b2")

Batch = tuple[Any, Any]


class Trainer:
    """Two Dense layers, compiled with SGD; a step is `train_on_batch`, all its defaults kept."""

    def __init__(self, backend: KerasBackend, workload: Workload) -> None:
        for what, value, known in (
            ("model", workload.model, "MLPScratch"),
            ("loss", workload.loss, "softmax-cross-entropy"),
            ("optimiser", workload.optimiser, "sgd"),
        ):
            if value != known:
                raise ValueError(f"{backend.name}: unknown {what} {value!r}; known: {known}")
        self.backend = backend
        self.num_inputs = workload.sizes["num_inputs"]
        self.shapes = {parameter.name: parameter.shape for parameter in workload.parameters}
        normal = keras.initializers.RandomNormal(stddev=workload.sigma)
        dense = keras.layers.Dense
        self.model = keras.Sequential(
            [
                keras.Input((self.num_inputs,)),
                dense(workload.sizes["num_hiddens"], activation="relu", kernel_initializer=normal),
                dense(workload.sizes["num_outputs"], kernel_initializer=normal),
            ]
        )
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(optimizer=keras.optimizers.SGD(workload.lr), loss=self.loss)
        self.model.optimizer.build(self.model.trainable_variables)
        self.initial_state = [_fresh(v.value) for v in self.model.optimizer.variables]

    def set_params(self, params: Params) -> None:
        """Copy `params` in; the optimiser's variables are as they were at first."""
        shapes = {name: np.shape(value) for name, value in params.items()}
        if shapes != self.shapes:
            raise ValueError(f"parameters: shapes are {shapes}, expected {self.shapes}")
        self.model.set_weights([np.array(params[name], self.backend.dtype) for name in NAMES])
        # Not by a new optimiser: Keras would trace and compile the step anew for it.
        for variable, value in zip(self.model.optimizer.variables, self.initial_state, strict=True):
            variable.assign(value)

    def get_params(self) -> Params:
        """Fresh copies of the parameters."""
        return _named([variable.value for variable in self.model.weights])

    def put(self, x: Array, y: Array) -> Batch:
        """x: (n, num_inputs) in the backend's dtype, y: int32 (n,); ValueError for other shapes."""
        if x.ndim != 2 or x.shape[1] != self.num_inputs:
            raise ValueError(f"batch: x has shape {x.shape}, expected (n, {self.num_inputs})")
        if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
            raise ValueError(f"batch: y is {y.dtype} {y.shape}, expected integers {x.shape[:1]}")
        batch = _put(x, self.backend.dtype), _put(y, np.int32)
        self.backend.finish(batch)
        return batch

    def fetch(self, batch: Batch) -> tuple[Array, Array]:
        """Fresh copies of what `put` stored."""
        x, y = batch
        return _fresh(x), _fresh(y).astype(np.int64)

    def step(self, batch: Batch) -> float:
        """One update; `train_on_batch` returns the mean loss before it as a number."""
        return self.model.train_on_batch(*batch)

    def wait(self, loss: float) -> float:
        """Block until the newest parameters are there; the mean loss in nats."""
        self.backend.finish([variable.value for variable in self.model.variables])
        return float(loss)

    def logits(self, batch: Batch) -> Array:
        """Logits (n, num_outputs), fresh."""
        return np.array(self.model.predict_on_batch(batch[0]))

    def loss_and_grads(self, batch: Batch) -> tuple[float, Params]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        x, y = batch

        def loss(*weights: Any) -> Any:
            logits, _ = self.model.stateless_call(weights, [], x)
            return self.loss(y, logits)

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


def _named(tensors: Sequence[Any]) -> Params:
    """Copies of the four tensors, by the harness's names."""
    return {name: _fresh(tensor) for name, tensor in zip(NAMES, tensors, strict=True)}
