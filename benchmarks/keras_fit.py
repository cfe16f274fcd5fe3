"""A peer: the same model trained by Keras 3 `fit`, on the engine that KERAS_BACKEND names.

It runs inside a harness worker, which imports any module with a `Backend`. The worker's command
`op` takes a name and arrays and gives arrays: a peer's operators are what is asked of it, `hold`
(the rows to train on), `chosen` (what Keras chose) and `fit`.

All that `compile` and `fit` choose by themselves stays as it is (`jit_compile="auto"`,
`run_eagerly=False`, `steps_per_execution=1`). Given are: no progress bar, whose writing would be
timed with the rest; no shuffling, since the rows come in the order of our epoch; no metric but
the loss. May import keras, its engine, NumPy and, from the harness, `interface` only.
"""

from __future__ import annotations

import importlib
import time
from typing import ClassVar

import keras
import numpy as np

from harness.interface import Array, Unavailable, Workload


class Backend:
    """Keras on the CPU, with as many threads as everyone; `variant` is its engine."""

    name: ClassVar[str] = "keras"

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin threads just as the harness's backend of the same framework does."""
        self.engine = keras.config.backend()
        if (self.engine, device, dtype, precision) != (variant, "cpu", "float32", "strict"):
            raise Unavailable(f"keras on {self.engine}, float32 and a cpu only")
        if self.engine == "torch":
            import torch

            torch.set_num_threads(threads)
            torch.set_num_interop_threads(1)
        if self.engine == "tensorflow":
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)

    def facts(self) -> dict[str, str]:
        """Versions."""
        engine = importlib.import_module(self.engine)
        return {"version:keras": keras.__version__, f"version:{self.engine}": engine.__version__}

    def trainer(self, workload: Workload) -> Trainer:
        """The model, compiled."""
        self._trainer = Trainer(workload)
        return self._trainer

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """One of the trainer's `hold`, `chosen` and `fit`."""
        del weights
        trainer = self._trainer
        asked = {"hold": trainer.hold, "chosen": trainer.chosen, "fit": trainer.fit}[name]
        return asked(*arrays)


class Epoch(keras.callbacks.Callback):
    """The time of the epoch alone: what a call prepares for all its epochs is not of a step."""

    def on_epoch_begin(self, *_: object) -> None:
        self._began_ns = time.perf_counter_ns()

    def on_epoch_end(self, *_: object) -> None:
        self.ns = time.perf_counter_ns() - self._began_ns


class Trainer:
    """784-256-10 as Keras's guides write it, softmax cross-entropy from logits, plain SGD."""

    def __init__(self, workload: Workload) -> None:
        sizes = workload.sizes
        self.batch_size = workload.batch_size
        self.model = keras.Sequential(
            [
                keras.Input((sizes["num_inputs"],)),
                keras.layers.Dense(sizes["num_hiddens"], activation="relu"),
                keras.layers.Dense(sizes["num_outputs"]),
            ]
        )
        self.model.compile(
            optimizer=keras.optimizers.SGD(workload.optimiser.lr),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    def hold(self, images: Array, labels: Array) -> tuple[Array, ...]:
        """Images uint8 (n, 28, 28) and labels int64 (n,): kept as pixels float32 (n, 784)."""
        self.x = images.reshape(len(images), -1) / np.float32(255)
        self.y = labels
        return ()

    def chosen(self) -> tuple[Array, ...]:
        """What Keras chose: jit_compile and run_eagerly (0 or 1), steps_per_execution."""
        model = self.model
        found = (model.jit_compile, model.run_eagerly, model.steps_per_execution)
        return tuple(np.array(int(value)) for value in found)

    def fit(self, *params: Array) -> tuple[Array, ...]:
        """One epoch over the rows held, from W1, b1, W2, b2.

        Returns ns of the call and ns of the epoch in it (int64), then the parameters after it. An
        epoch ends with the mean loss as a number, so nothing is left to wait for.
        """
        self.model.set_weights(params)
        epoch = Epoch()
        before = time.perf_counter_ns()
        self.model.fit(
            self.x,
            self.y,
            batch_size=self.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[epoch],
        )
        call_ns = time.perf_counter_ns() - before
        return np.array(call_ns), np.array(epoch.ns), *self.model.get_weights()

    def close(self) -> None:
        """Nothing is held that the process's end does not give back."""
