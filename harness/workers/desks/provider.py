"""The desk of a plug-in workload: its data, its reference and its probes.

The harness's own process loads nothing of it; `harness/workers/providers.py` is the other end.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from harness.interface import Array, Params
from harness.tensors import load_tensors, save_tensors
from harness.workers.loading import load_object
from harness.workloads.reference.screening import UNIT_ROUNDOFF


class ProviderDesk:
    """The object at MODULE:NAME or FILE:NAME (a class is called without arguments).

    It has `workload`: a `Workload`; and may have `reference`: a `Reference` in float64 NumPy (of
    its two kink methods none is needed where nothing has a kink); `probes`: a `MakeProbes`.
    """

    def __init__(self, *_: object) -> None:
        self._given: Any
        self._reference: Any

    def start(self, source: str) -> dict[str, Any]:
        """Load it: the workload as plain data, and what comes with it."""
        loaded = load_object(source)
        self._given = loaded() if isinstance(loaded, type) else loaded
        self._reference = getattr(self._given, "reference", None)
        return {
            "workload": msgspec.to_builtins(self._given.workload),
            "reference": self._reference is not None,
            "probes": getattr(self._given, "probes", None) is not None,
        }

    def ask(self, what: str, given: str, out: str) -> dict[str, Any]:
        """One of the reference's methods at "params.NAME", "x" and "y" that are `given`.

        Tensors: "logits"; "loss" and "grad.NAME"; "kink_margin"; "kink_distance".
        """
        params, batch = _parted(given)
        if what == "loss_and_grads":
            loss, grads = self._reference.loss_and_grads(params, batch["x"], batch["y"])
            tensors = {f"grad.{name}": np.asarray(grad) for name, grad in grads.items()}
            tensors["loss"] = np.array(loss, dtype=np.float64)
        elif what == "logits":
            tensors = {"logits": self._reference.logits(params, batch["x"])}
        else:
            tensors = {what: self._kinks(what, params, batch["x"])}
        save_tensors(out, tensors)
        return {}

    def _kinks(self, method: str, params: Params, x: Array) -> Array:
        own = getattr(self._reference, method, None)
        return np.full(len(x), np.inf) if own is None else np.asarray(own(params, x))

    def probes(self, screen_margin: float, given: str, out: str) -> dict[str, Any]:
        """The made batches from initial parameters and a pool of samples: tensors by number."""

        def clear(at: Params, x: Array) -> Array:
            wide = {name: value.astype(np.float64) for name, value in at.items()}
            far = self._kinks("kink_margin", wide, x.astype(np.float64))
            return np.asarray(far >= screen_margin * UNIT_ROUNDOFF)

        params, pool = _parted(given)
        made = list(self._given.probes(params, pool["x"], pool["y"], clear))
        tensors: dict[str, Array] = {}
        for number, probe in enumerate(made):
            tensors |= {f"{number}.x": probe.x, f"{number}.y": probe.y}
            tensors |= {f"{number}.params.{name}": value for name, value in probe.params.items()}
        save_tensors(out, tensors)
        return {"probes": [[probe.case, probe.centred] for probe in made]}


def _parted(given: str) -> tuple[Params, dict[str, Array]]:
    """Parameters, and the batch beside them, from a file."""
    tensors = load_tensors(given)
    params = {
        name.removeprefix("params."): tensors.pop(name)
        for name in list(tensors)
        if name.startswith("params.")
    }
    return params, tensors
