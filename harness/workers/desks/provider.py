"""The desk of a plug-in workload: its data, its reference and its probes.

The harness's own process loads nothing of it; `harness/workers/providers.py` is the other end.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from harness.interface import Array, State
from harness.tensors import load_tensors, save_tensors
from harness.workers.loading import load_object
from harness.workloads.reference.composed import cast
from harness.workloads.reference.screening import UNIT_ROUNDOFF


class ProviderDesk:
    """The object at MODULE:NAME or FILE:NAME (a class is called without arguments).

    It has `workload`: a `Workload`; and `net`: a `Net`, as `declare` gives both, or `reference`: a
    `Reference` of its own in float64 NumPy (of its two kink methods none is needed where nothing
    has a kink), and then perhaps `probes(state, batch, clear)`: a list of `Probe`.
    """

    def __init__(self, *_: object) -> None:
        self._given: Any
        self._reference: Any

    def start(self, source: str) -> dict[str, Any]:
        """Load it: the workload and its net as plain data, and what comes with them."""
        loaded = load_object(source)
        self._given = loaded() if isinstance(loaded, type) else loaded
        self._reference = getattr(self._given, "reference", None)
        return {
            "workload": msgspec.to_builtins(self._given.workload),
            "net": msgspec.to_builtins(getattr(self._given, "net", None)),
            "reference": self._reference is not None,
            "probes": getattr(self._given, "probes", None) is not None,
        }

    def ask(self, what: str, given: str, out: str) -> dict[str, Any]:
        """One of the reference's methods at the "state.NAME" and the batch that are `given`.

        Tensors: "outputs", of "look" also "loss", "grad.NAME" and "running.NAME"; else that of the
        method's own name.
        """
        state, batch = _parted(given)
        if what == "look":
            outputs, loss, grads, running = self._reference.look(state, batch)
            tensors = {f"grad.{name}": np.asarray(grad) for name, grad in grads.items()}
            tensors |= {f"running.{name}": np.asarray(value) for name, value in running.items()}
            tensors |= {"outputs": np.asarray(outputs), "loss": np.array(loss, dtype=np.float64)}
        elif what == "outputs":
            tensors = {"outputs": np.asarray(self._reference.outputs(state, batch))}
        else:
            tensors = {what: self._kinks(what, state, batch)}
        save_tensors(out, tensors)
        return {}

    def _kinks(self, method: str, state: State, batch: State) -> Array:
        own = getattr(self._reference, method, None)
        return np.full(len(batch["x"]), np.inf) if own is None else np.asarray(own(state, batch))

    def probes(self, screen_margin: float, given: str, out: str) -> dict[str, Any]:
        """The made batches from an initial state and a pool of samples: tensors by number."""

        def clear(state: State, batch: State) -> Array:
            far = self._kinks("kink_margin", cast(state), cast(batch))
            return np.asarray(far >= screen_margin * UNIT_ROUNDOFF)

        made = list(self._given.probes(*_parted(given), clear))
        tensors: dict[str, Array] = {}
        for number, probe in enumerate(made):
            tensors |= {f"{number}.batch.{name}": value for name, value in probe.batch.items()}
            tensors |= {f"{number}.state.{name}": value for name, value in probe.state.items()}
        save_tensors(out, tensors)
        return {"probes": [[probe.case, probe.centred] for probe in made]}


def _parted(given: str) -> tuple[State, State]:
    """A state, and the batch beside it, from a file."""
    tensors = load_tensors(given)
    state = {
        name.removeprefix("state."): tensors.pop(name)
        for name in list(tensors)
        if name.startswith("state.")
    }
    return state, tensors
