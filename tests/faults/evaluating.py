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
        def put(self, x, y):
            return self.trainer.put(x / x.dtype.type(255) if _tested(y) else x, y)

    return wrap(backend, Scaled)


def last_rows_reversed(backend):
    """The logits of the last 500 test images belong to one another."""

    class Reversed(Wrapped):
        def logits(self, batch):
            logits = np.array(self.trainer.logits(batch))
            if _tested(logits):
                logits[-500:] = logits[-500:][::-1]
            return logits

    return wrap(backend, Reversed)


def stale(backend):
    """Test images meet the parameters that training began with."""

    class Stale(Wrapped):
        def set_params(self, params):
            self.first = {name: np.array(value) for name, value in params.items()}
            self.trainer.set_params(params)

        def logits(self, batch):
            logits = self.trainer.logits(batch)
            if not _tested(logits):
                return logits
            held = self.trainer.get_params()
            self.trainer.set_params(self.first)
            logits = np.array(self.trainer.logits(batch))
            self.trainer.set_params(held)
            return logits

    return wrap(backend, Stale)


def _tested(rows):
    return len(rows) > LARGEST_TRAINING_BATCH
