"""The desk of somebody else's single operator: its arguments and its truth.

The harness's own process loads nothing of it; `harness/workers/operators.py` is the other end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.interface import SingleOperator
from harness.tensors import load_tensors, save_tensors
from harness.workers.loading import load_object


class OperatorDesk:
    """The `SingleOperator` at MODULE:NAME or FILE:NAME (a class is called without arguments)."""

    def __init__(self, *_: object) -> None:
        self._given: SingleOperator

    def start(self, source: str, out: str) -> dict[str, Any]:
        """Load it; its arguments as "PLACE.NUMBER", the ordinary ones at place 0, then the points.

        `points`: their names in order; `functions`: as it has them.
        """
        loaded = load_object(source)
        self._given = loaded() if isinstance(loaded, type) else loaded
        asked = (self._given.ordinary, *self._given.special.values())
        save_tensors(
            out,
            {
                f"{place}.{number}": np.asarray(array)
                for place, arrays in enumerate(asked)
                for number, array in enumerate(arrays)
            },
        )
        return {"points": [*self._given.special], "functions": dict(self._given.functions)}

    def truth(self, given: str, out: str) -> dict[str, Any]:
        """Value and derivatives as "0", "1", ... of arguments called so and of "weights"."""
        tensors = load_tensors(given)
        weights = tensors.pop("weights")
        arrays = [tensors[str(number)] for number in range(len(tensors))]
        with np.errstate(all="ignore"):
            found = self._given.truth(weights, *arrays)
        save_tensors(out, {str(place): np.asarray(array) for place, array in enumerate(found)})
        return {}
