"""The workloads: what is trained, as data, and the net that judges it.

A workload is one file here and one in each framework's room. Imports NumPy; no framework.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from harness.interface import Workload
from harness.workloads.declare import Declared
from harness.workloads.reference.composed import Net


def _declared() -> dict[str, Declared]:
    """What every module here declares under its own name in capitals."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = import_module(f"{__name__}.{module.name}")
        if isinstance(declared := getattr(loaded, module.name.upper(), None), Declared):
            found[declared.workload.name] = declared
    return found


DECLARED = _declared()
WORKLOADS: dict[str, Workload] = {name: d.workload for name, d in DECLARED.items()}
NETS: dict[str, Net] = {name: d.net for name, d in DECLARED.items()}
