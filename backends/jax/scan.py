"""The variant `scan` of the JAX backend: many steps as one call.

May import jax, the trainer beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from backends.jax.trainer import Batch, Trainer
from harness.interface import Workload


class ScanTrainer(Trainer):
    """The trainer of `jit`, whose very step it scans over the batches of `run`."""

    def __init__(self, backend: Any, workload: Workload) -> None:
        super().__init__(backend, workload)

        def body(carry: tuple[Any, Any], batch: Batch) -> tuple[tuple[Any, Any], jax.Array]:
            params, state, value = self._step(*carry, *batch)
            return (params, state), value

        def run(params: Any, state: Any, batches: Sequence[Batch]) -> tuple[Any, jax.Array]:
            stacked = tuple(jnp.stack(parts) for parts in zip(*batches, strict=True))
            # Unrolled, XLA removes the stacking: each step reads its own batch where `put` left it.
            # Rolled up, every batch is copied twice a call, which eats most of what is gained.
            return jax.lax.scan(body, (params, state), stacked, unroll=True)

        # Compiled once for each number and size of batches.
        self._run = jax.jit(run, donate_argnums=(0, 1))

    def run(self, batches: Sequence[Batch]) -> list[float]:
        """One SGD update a batch, all done on return; the mean loss in nats before each."""
        (self.params, self.state), losses = self._run(self.params, self.state, tuple(batches))
        jax.block_until_ready(self.params)
        return np.array(losses).tolist()

    def close(self) -> None:
        """Drop the parameters and the compiled functions."""
        super().close()
        del self._run
