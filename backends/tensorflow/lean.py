"""TensorFlow itself, imported before all else of this room.

It imports JAX, Keras, pandas and SciPy wherever they are installed, for a converter, `tf.keras`,
data frames and sparse matrices that nobody asks for here: a third of what its own import takes.
Whoever wants them has them afterwards.
"""

from __future__ import annotations

import sys
from typing import Any, cast

__all__ = ["tf"]

_LEFT_OUT = {"jax", "keras", "pandas", "scipy"} - {*sys.modules}
sys.modules.update(dict.fromkeys(_LEFT_OUT, cast("Any", None)))
try:
    import tensorflow as tf
finally:
    for _name in _LEFT_OUT:
        del sys.modules[_name]
