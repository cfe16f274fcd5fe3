"""The variant `scan` of the JAX backend: many steps as one call.

May import jax, the trainer beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from backends.jax.optimisers import Arrays
from backends.jax.trainer import Batch, Trainer
from harness.interface import Workload


class ScanTrainer(Trainer):
    """The trainer of `jit`, whose very step it scans over the batches of `run`."""

    def __init__(self, backend: Any, workload: Workload) -> None:
        super().__init__(backend, workload)

        def run(state: Arrays, batches: Sequence[Batch]) -> tuple[Arrays, jax.Array]:
            stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *batches)
            # Unrolled, XLA removes the stacking: each step reads its own batch where `put` left it.
            # Rolled up, every batch is copied twice a call, which eats most of what is gained.
            return jax.lax.scan(self._step, state, stacked, unroll=True)

        # Compiled once for each number and size of batches.
        self._run = jax.jit(run, donate_argnums=0)

    def run(self, batches: Sequence[Batch]) -> list[float]:
        """One update a batch, all done on return; the mean loss in nats before each."""
        self.state, losses = self._run(self.state, tuple(batches))
        jax.block_until_ready(self.state)
        return np.array(losses).tolist()

    def close(self) -> None:
        """Drop the state and the compiled functions."""
        super().close()
        del self._run
