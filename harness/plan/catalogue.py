"""What `harness list` shows: backends, variants, devices, workloads, and what is missing here.

Looks for packages and device files; imports no framework.
"""

from __future__ import annotations

import contextlib
import math
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from backends import BUILT_IN, Entry
from harness.plan import interpreters, plugins, settings
from harness.plan.plugins import missing
from harness.text import many
from harness.workloads import ABOUT, WORKLOADS


def describe() -> dict[str, Any]:
    """Everything that a plan may name, as plain data.

    A backend with an interpreter of its own in harness.toml is looked for there.
    """
    pythons = {n: interpreters.locate(path) for n, path in settings.read().python.items()}
    entries = plugins.known()
    for name, python in pythons.items():
        if name not in entries:
            entries |= {n: e for n, e in plugins.known(python).items() if n == name}
    workloads = {
        name: {
            "about": ABOUT[name],
            "dataset": workload.data,
            "parameters": {t.name: list(t.shape) for t in workload.trained},
            "batch_size": workload.batch_size,
            "epochs": workload.epochs,
            "optimiser": workload.optimiser.rule,
            "lr": workload.optimiser.lr,
        }
        for name, workload in WORKLOADS.items()
    }
    brought = {
        name: {"source": entry.source, "origin": entry.origin}
        for name, entry in plugins.named(plugins.WORKLOAD_GROUP).items()
    }
    return {
        "backends": {n: _backend(entry, pythons.get(n, "")) for n, entry in entries.items()},
        "devices": {"cpu": True, "cuda": plugins.cuda_present()},
        "workloads": brought | workloads,
    }


def _backend(entry: Entry, python: str) -> dict[str, Any]:
    lacking = {device: missing(entry, device, python) for device in ("cpu", *entry.devices)}
    return {
        "available": lacking["cpu"] is None,
        "missing": lacking["cpu"],
        "variants": list(entry.variants),
        "variant_devices": {
            v: list(entry.variant_devices.get(v, entry.devices)) for v in entry.variants
        },
        "devices": {device: lacking[device] for device in entry.devices},
        "precisions": {d: ["strict", *entry.precisions.get(d, ())] for d in entry.devices},
        "versions": versions_of(entry.distributions, python),
        "source": entry.source,
        "origin": entry.origin,
        "python": python or None,
    }


def versions_of(distributions: tuple[str, ...], python: str) -> dict[str, str]:
    """By distribution its version, where an interpreter ("": this one) has it."""
    if not interpreters.is_own(python):
        return interpreters.examine(python, (), distributions).versions
    versions = {}
    for name in distributions:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def as_text(catalogue: dict[str, Any]) -> str:
    """The same for people."""
    lines = ["backends (default variant first)"]
    for name, backend in catalogue["backends"].items():
        versions = ", ".join(f"{k} {v}" for k, v in backend["versions"].items())
        variants = ", ".join(
            variant if where == [*backend["devices"]] else f"{variant} ({', '.join(where)} only)"
            for variant, where in backend["variant_devices"].items()
        )
        if backend["origin"] != BUILT_IN:
            lines += [
                f"  {name:<11} {backend['origin']}: {backend['source']}",
                f"  {'':<11} {backend['missing'] or 'found; its own process tells what it can do'}",
            ]
            continue
        lines.append(f"  {name:<11} {variants}  [{versions or 'not installed'}]")
        if backend["python"]:
            lines.append(f"  {'':<11} under {backend['python']}")
        lines += [
            f"  {'':<11} {device}: {reason or 'available'} "
            f"({', '.join(backend['precisions'][device])})"
            for device, reason in backend["devices"].items()
        ]
    lines.append("workloads")
    width = max(map(len, catalogue["workloads"]))
    for name, workload in catalogue["workloads"].items():
        if "origin" in workload:
            lines.append(f"  {name:<{width}} {workload['origin']}: {workload['source']}")
            continue
        numbers = sum(map(math.prod, workload["parameters"].values()))
        size = f"{workload['dataset']}; learns {many(numbers, 'number')}"
        batch = f"batch {workload['batch_size'] or 'of all rows'}"
        epochs = many(workload["epochs"], "epoch")
        rule = f"{workload['optimiser']}, lr {workload['lr']}"
        lines.append(f"  {name:<{width}} {workload['about']}")
        lines.append(f"  {'':<{width}} {size}; {batch}, {epochs}, {rule}")
    return "\n".join(lines)
