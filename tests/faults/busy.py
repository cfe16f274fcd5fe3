"""A step made slower by a known share of itself: busy work inside it, its numbers untouched.

The share is of each step's own measured time, so that it is the same on every machine. The step
is finished first (a queued one would hide the busy work); one with `run` is slowed there as well.
"""

from __future__ import annotations

import time

from callers import Wrapped, wrap


def slower_by(share):
    """A fault that spins for `share` of a step's own time (0.15: steps take 15 % longer)."""

    def fault(backend):
        class Busy(Wrapped):
            def __init__(self, trainer):
                super().__init__(trainer)
                if hasattr(trainer, "run"):
                    self.run = lambda batches: self.then_spin(lambda: trainer.run(batches))

            def step(self, batch):
                return self.then_spin(lambda: self.trainer.wait(self.trainer.step(batch)))

            def wait(self, loss):
                return loss

            def then_spin(self, work):
                before = time.perf_counter_ns()
                found = work()
                now = time.perf_counter_ns()
                until = now + (now - before) * share
                while time.perf_counter_ns() < until:
                    pass
                return found

        return wrap(backend, Busy)

    return fault


busy_15 = slower_by(0.15)
busy_3 = slower_by(0.03)
