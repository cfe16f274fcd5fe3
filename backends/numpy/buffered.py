"""The variant `buffered` of the NumPy backend: a room's file in its second form, where it has one.

The second form computes in place: `Buffered` beside `Net`, and `buffered_loss_and_grads`, which
takes a scale for the gradients. What it gives is valid until its next call. May import NumPy, the
trainer beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

from operator import attrgetter
from typing import ClassVar

from backends.numpy.trainer import Trainer
from harness.interface import State


class BufferedTrainer(Trainer):
    """The trainer of a second form; of a file without one the plain trainer.

    With SGD the learning rate is in the error that goes back, not in the large gradients.
    """

    form: ClassVar[str] = "Buffered"

    def step(self, batch: State) -> float:
        """One update, done on return; the mean loss before it."""
        optimiser = self.workload.optimiser
        if optimiser.rule != "sgd" or not hasattr(self.room, self.form):
            return super().step(batch)
        value, updates = self._loss_and_grads(batch, scale=optimiser.lr)
        for name, update in updates.items():
            tensor = attrgetter(name)(self.net)
            tensor -= update
        return value

    def _loss_and_grads(self, batch: State, **scale: float) -> tuple[float, State]:
        """As the second form gives them."""
        if not hasattr(self.room, self.form):
            return super()._loss_and_grads(batch)
        return self.room.buffered_loss_and_grads(self.net, *self._arguments(batch), **scale)
