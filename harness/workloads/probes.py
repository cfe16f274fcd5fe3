"""What a probe is: a made batch at made parameters, for corners real data never visits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.interface import Array, Params


@dataclass(frozen=True, eq=False)
class Probe:
    """`params` float32 by name; x: float32 (n, inputs); y: int64 (n,).

    `centred`: the forward rung compares logits less their row mean.
    """

    case: str
    params: Params
    x: Array
    y: Array
    centred: bool = False


# From initial parameters (float32), a pool of training samples x, y, and a test that says which
# rows of x are clear of every kink at given parameters: bool (n,).
MakeProbes = Callable[[Params, Array, Array, Callable[[Params, Array], Array]], list[Probe]]
