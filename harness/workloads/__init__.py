"""The workloads: what is trained, as data, and the net that judges it.

A workload is one file here and one in each framework's room. Imports NumPy; no framework.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module

from harness.interface import Workload
from harness.workloads.declare import Declared, of_batches
from harness.workloads.reference.composed import Net

# What each module here declares under its own name in capitals.
DECLARED: dict[str, Declared] = {}
# By the workloads whose width can be chosen: so many hidden units or channels, samples a batch
# and, of images whose side can be chosen too, pixels on it.
SIZED: dict[str, Callable[..., Declared]] = {}
# A sentence about each, the first of its module.
ABOUT: dict[str, str] = {}
for _module in pkgutil.iter_modules(__path__):
    _loaded = import_module(f"{__name__}.{_module.name}")
    _found = getattr(_loaded, _module.name.upper(), None)
    if isinstance(_found, Declared):
        DECLARED[_found.workload.name] = _found
        ABOUT[_found.workload.name] = (_loaded.__doc__ or "").partition(": ")[2].partition("\n")[0]
        if hasattr(_loaded, "sized"):
            SIZED[_found.workload.name] = _loaded.sized

# What `--workload` names several by.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(DECLARED),
    # No convolution: every product bounds a step.
    "all-small": tuple(
        name
        for name, d in DECLARED.items()
        if all(product.bound for product in d.net.products(1).values())
    ),
}
WORKLOADS: dict[str, Workload] = {name: d.workload for name, d in DECLARED.items()}
NETS: dict[str, Net] = {name: d.net for name, d in DECLARED.items()}
# What is trained where nobody names a workload.
(DEFAULT,) = (name for name, d in DECLARED.items() if d.default)


def known(workload: Workload) -> bool:
    """Whether a workload is one of these, with any number of samples where it takes all rows."""
    own = WORKLOADS.get(workload.name)
    if own is not None and own.batch_size is None and workload.batch_size is not None:
        own = of_batches(own, NETS[own.name], workload.batch_size)
    return own == workload


def width_of(workload: Workload) -> int:
    """The hidden units or channels of a workload whose width can be chosen; 0 for any other."""
    sizes = workload.sizes if workload.name in SIZED else {}
    return sizes.get("num_hiddens", 0) or sizes.get("channels", 0)


def side_of(workload: Workload) -> int:
    """The pixels on a side of the images of a workload that can choose them; 0 for any other."""
    return workload.sizes.get("side", 0) if workload.name in SIZED else 0
