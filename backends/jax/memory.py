"""How arrays of the host get to the device. May import jax and NumPy."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# At such an address JAX takes an array of the host as it lies, and anywhere else it copies it.
ALIGNED = 64


def to_device(array: Array, dtype: npt.DTypeLike, device: jax.Device) -> jax.Array:
    """A copy of `array` on the device, finished; jax.device_put may share the host's memory."""
    # may_alias=False does not keep it from that on a CPU (jax 0.10.2), so the copy is made here.
    return jax.device_put(np.array(array, dtype, order="C"), device).block_until_ready()


def lent(array: Array, dtype: npt.DTypeLike, device: jax.Device) -> jax.Array:
    """The same of what no step may overwrite: its one copy lies where JAX takes it as it is."""
    kind = np.dtype(dtype)
    raw = np.empty(array.size * kind.itemsize + ALIGNED, np.uint8)
    copy = np.ndarray(array.shape, kind, raw, -raw.ctypes.data % ALIGNED)
    copy[...] = array
    return jax.device_put(copy, device).block_until_ready()
