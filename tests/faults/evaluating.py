"""Mistakes in evaluation only: every training step is right, and the accuracy that is told is not.

A batch of the test set is told from others by its size.
"""

from __future__ import annotations

import numpy as np

from tests.faults.callers import Wrapped, wrap

LARGEST_TRAINING_BATCH = 256


def scaled_twice(backend):
    """The test images are divided by 255 once more."""

    class Scaled(Wrapped):
        def put(self, batch):
            x = batch["x"]
            scaled = {"x": x / x.dtype.type(255)} if _tested(x) else {}
            return self.trainer.put(batch | scaled)

    return wrap(backend, Scaled)


def last_rows_reversed(backend):
    """The outputs of the last 500 test images belong to one another."""

    class Reversed(Wrapped):
        def outputs(self, batch, *, training):
            found = np.array(self.trainer.outputs(batch, training=training))
            if _tested(found):
                found[-500:] = found[-500:][::-1]
            return found

    return wrap(backend, Reversed)


def stale(backend):
    """Test images meet the state that training began with."""

    class Stale(Wrapped):
        def set_state(self, state):
            self.first = {name: np.array(value) for name, value in state.items()}
            self.trainer.set_state(state)

        def outputs(self, batch, *, training):
            found = self.trainer.outputs(batch, training=training)
            if not _tested(found):
                return found
            held = self.trainer.get_state()
            self.trainer.set_state(self.first)
            found = np.array(self.trainer.outputs(batch, training=training))
            self.trainer.set_state(held)
            return found

    return wrap(backend, Stale)


def _tested(rows):
    return len(rows) > LARGEST_TRAINING_BATCH
