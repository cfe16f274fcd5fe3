"""What a record says of the machine and the data it was made with. Imports no framework."""

from __future__ import annotations

import hashlib
import os
import platform
import time

import msgspec
import numpy as np

from harness.data import Dataset
from harness.record.schema import DatasetFacts, Record


def describe_dataset(dataset: Dataset) -> DatasetFacts:
    """What the record keeps of a data set."""
    return DatasetFacts(
        name=dataset.name,
        synthetic=dataset.synthetic,
        sha256=dataset.sha256,
        train=len(dataset.train_x),
        test=len(dataset.test_x),
        source=dataset.source.encode("utf-8", "replace").decode(),
        class_names=list(dataset.class_names),
    )


def describe_machine() -> dict[str, str]:
    """System, processor and the parent's own versions."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": processor(),
        "processors": str(os.cpu_count()),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith("model name")]
    except OSError:
        lines = []
    return lines[0].partition(":")[2].strip() if lines else platform.processor() or "unknown"


def versions(facts: dict[str, str]) -> dict[str, str]:
    """What a process said of its packages, by name: "torch" -> "2.13.0"."""
    mark = "version:"
    return {key.removeprefix(mark): v for key, v in facts.items() if key.startswith(mark)}


def machine_key(record: Record) -> dict[str, str]:
    """The stable facts of a machine: no kernel, no version, no load."""
    devices = {
        process.facts["device"]
        for results in record.results.values()
        for process in results.processes
        if process.facts.get("device", "cpu") != "cpu"
    }
    facts = host_key(record.machine)
    return facts | ({"device": ", ".join(sorted(devices))} if devices else {})


def host_key(machine: dict[str, str]) -> dict[str, str]:
    """The same but for what only its workers know: the names of its devices."""
    facts = {name: machine.get(name, "") for name in ("architecture", "processor", "processors")}
    return facts | {"system": machine.get("system", "").partition(" ")[0]}


def machine_name(machine: dict[str, str]) -> str:
    """A machine's name, fit for a file: a few words to read, and a digest of its stable facts."""
    title = f"{machine.get('processor', '')}-{machine.get('processors', '')}-processors"
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in title.lower()).split()
    digest = hashlib.sha256(msgspec.json.encode(sorted(machine.items()))).hexdigest()
    return f"{'-'.join(words)[:60]}-{digest[:8]}"


def differing(then: dict[str, str], now: dict[str, str]) -> dict[str, list[str | None]]:
    """What is not the same in two sets of facts, [then, now]; None for what is empty or missing."""
    pairs = {name: [then.get(name) or None, now.get(name) or None] for name in (*then, *now)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def now() -> str:
    """The present time, UTC, to the second, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
