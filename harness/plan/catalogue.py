"""What `harness list` shows: backends, variants, devices, workloads, and what is missing here.

Looks for packages and device files; imports no framework.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from backends import BUILT_IN, Entry
from harness.plan import interpreters, plugins, settings
from harness.plan.plugins import missing
from harness.workloads import WORKLOADS


def describe() -> dict[str, Any]:
    """Everything that a plan may name, as plain data.

    A backend with an interpreter of its own in harness.toml is looked for there.
    """
    settled = settings.read().python
    pythons = {name: interpreters.locate(settled[name]) for name in settled}
    return {
        "backends": {
            name: {
                "available": missing(entry, python=pythons.get(name, "")) is None,
                "missing": missing(entry, python=pythons.get(name, "")),
                "variants": list(entry.variants),
                "variant_devices": {
                    variant: list(entry.variant_devices.get(variant, entry.devices))
                    for variant in entry.variants
                },
                "devices": {
                    device: missing(entry, device, pythons.get(name, ""))
                    for device in entry.devices
                },
                "precisions": {
                    device: ["strict", *entry.precisions.get(device, ())]
                    for device in entry.devices
                },
                "versions": _versions(entry.distributions, pythons.get(name, "")),
                "source": entry.source,
                "origin": entry.origin,
                "python": pythons.get(name),
            }
            for name, entry in _backends(pythons).items()
        },
        "devices": {"cpu": True, "cuda": plugins.cuda_present()},
        "workloads": {
            name: {
                "dataset": workload.dataset,
                "parameters": {p.name: list(p.shape) for p in workload.parameters},
                "batch_size": workload.batch_size,
                "epochs": workload.epochs,
                "lr": workload.lr,
            }
            for name, workload in WORKLOADS.items()
        }
        | {
            name: {"source": source, "origin": origin}
            for name, (source, origin) in plugins.known_workloads().items()
            if name not in WORKLOADS
        },
    }


def _backends(pythons: dict[str, str]) -> dict[str, Entry]:
    """Every backend with a name here, or under that name in an interpreter of its own."""
    entries = plugins.known()
    there = {n: plugins.known(python) for n, python in pythons.items() if n not in entries}
    return entries | {name: named[name] for name, named in there.items() if name in named}


def _versions(distributions: tuple[str, ...], python: str) -> dict[str, str]:
    if not interpreters.is_own(python):
        return interpreters.examine(python, (), distributions).versions
    versions = {}
    for name in distributions:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
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
    for name, workload in catalogue["workloads"].items():
        if "origin" in workload:
            lines.append(f"  {name:<11} {workload['origin']}: {workload['source']}")
            continue
        shapes = ", ".join(f"{k} {tuple(v)}" for k, v in workload["parameters"].items())
        lines.append(
            f"  {name:<11} {workload['dataset']}, {shapes}; batch {workload['batch_size']}, "
            f"{workload['epochs']} epochs, lr {workload['lr']}"
        )
    return "\n".join(lines)
