"""What `harness list` shows: backends, variants, devices, workloads, and what is missing here.

Looks for packages and device files; imports no framework.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from backends import BACKENDS
from harness.plan import cuda_present, missing
from harness.workloads import WORKLOADS


def describe() -> dict[str, Any]:
    """Everything that a plan may name, as plain data."""
    return {
        "backends": {
            name: {
                "available": missing(name) is None,
                "missing": missing(name),
                "variants": list(entry.variants),
                "variant_devices": {
                    variant: list(entry.variant_devices.get(variant, entry.devices))
                    for variant in entry.variants
                },
                "devices": {device: missing(name, device) for device in entry.devices},
                "precisions": {
                    device: ["strict", *entry.precisions.get(device, ())]
                    for device in entry.devices
                },
                "versions": _versions(entry.distributions),
            }
            for name, entry in BACKENDS.items()
        },
        "devices": {"cpu": True, "cuda": cuda_present()},
        "workloads": {
            name: {
                "dataset": workload.dataset,
                "parameters": {p.name: list(p.shape) for p in workload.parameters},
                "batch_size": workload.batch_size,
                "epochs": workload.epochs,
                "lr": workload.lr,
            }
            for name, workload in WORKLOADS.items()
        },
    }


def _versions(distributions: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def as_text(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = ["backends (default variant first)"]
    for name, backend in found["backends"].items():
        versions = ", ".join(f"{k} {v}" for k, v in backend["versions"].items())
        variants = ", ".join(
            variant if where == [*backend["devices"]] else f"{variant} ({', '.join(where)} only)"
            for variant, where in backend["variant_devices"].items()
        )
        lines.append(f"  {name:<11} {variants}  [{versions or 'not installed'}]")
        lines += [
            f"  {'':<11} {device}: {reason or 'available'} "
            f"({', '.join(backend['precisions'][device])})"
            for device, reason in backend["devices"].items()
        ]
    lines.append("workloads")
    for name, workload in found["workloads"].items():
        shapes = ", ".join(f"{k} {tuple(v)}" for k, v in workload["parameters"].items())
        lines.append(
            f"  {name:<11} {workload['dataset']}, {shapes}; batch {workload['batch_size']}, "
            f"{workload['epochs']} epochs, lr {workload['lr']}"
        )
    return "\n".join(lines)
