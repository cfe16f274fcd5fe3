"""TensorFlow itself, imported before all else of this room.

It imports JAX and pandas wherever they are installed, for a converter and for data frames that
nobody asks for here: a fifth of what its own import takes. Whoever wants them has them afterwards.
"""

from __future__ import annotations

import sys
from typing import Any, cast

__all__ = ["tf"]

_LEFT_OUT = {"jax", "pandas"} - {*sys.modules}
sys.modules.update(dict.fromkeys(_LEFT_OUT, cast("Any", None)))
try:
    import tensorflow as tf
finally:
    for _name in _LEFT_OUT:
        del sys.modules[_name]
