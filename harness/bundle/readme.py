"""The README of a bundle. Whatever a record says is escaped; only checked words enter a command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from backends import BACKENDS
from harness import __version__
from harness.bundle.scripts import Source, file_name, source_of
from harness.plan.model import Label
from harness.record.facts import versions
from harness.record.schema import Record, Results
from harness.report.tables import escape, table

if TYPE_CHECKING:
    from harness.results.kept import Reproduced

# What the copied code imports beside the frameworks.
REQUIREMENTS = ("msgspec", "safetensors", "threadpoolctl")
# A version that may stand in a command line (PEP 440), with its local part apart.
VERSION = re.compile(r"(\d+(?:\.\d+)*[a-z0-9.]*)(?:\+([a-z0-9]+))?", re.ASCII)
# Local parts that PyTorch has an index for.
TORCH_INDEX = "https://download.pytorch.org/whl/"

DISTANCES = {
    "inputs": "the number of elements whose bits differ",
    "forward": "||got − expected|| / ||expected||, in float64",
    "centred": "||got − expected|| / ||expected|| of logits less their row's mean, in float64",
    "loss": "|got − expected| / |expected|, in float64",
    "step loss": "|got − expected| / |expected|, in float64",
    "gradients": "||got − expected|| / ||expected||, in float64",
    "update": "excess update error: ||max(0, |change got − change expected| − half the spacing of "
    "the stored parameter)|| / ||change expected||, in float64",
    "lockstep": "||got − expected|| / ||expected||, in float64",
    "losses": "||got − expected|| / ||expected||, in float64",
}


def readme(
    record: Record,
    reproduced: Reproduced,
    scripts: list[str],
    planted: str | None,
    plug_in: str | None,
) -> str:
    """The whole text. planted, plug_in: the files of a fault and of a plug-in that were copied."""
    label = record.plan.labels[reproduced.label]
    lines = [f"# {escape(reproduced.label)}: {reproduced.at.rung}", ""]
    lines += [escape(reproduced.sentence) + ".", ""]
    notes = [reproduced.instead] if reproduced.instead else []
    if label.plant is not None:
        copied = "its file and those beside it are in code/plant"
        lost = "its file was not on this machine, so no script has the fault"
        notes.append(f"FAULT PLANTED on purpose: {label.plant}; {copied if planted else lost}.")
    source = source_of(label)
    if source is not None and source.plug_in:
        notes.append(_plug_in_note(label, source, plug_in))
    others = [
        name
        for name, other in record.plan.labels.items()
        if other.plant is not None and name != reproduced.label
    ]
    if others:
        notes.append(f"Faults were planted in {', '.join(others)} too; their scripts are clean.")
    if record.dataset is not None and record.dataset.synthetic:
        notes.append("SYNTHETIC data, not Fashion-MNIST.")
    if record.harness_version != __version__:
        notes.append(
            f"code/ is of harness {__version__}; the run was made with {record.harness_version}."
        )
    for note in notes:
        lines += [f"> {escape(note)}", ""]
    lines += ["## What differs", "", *table(["what", "value"], _facts(record, reproduced))]
    lines += ["## How to run", "", *_how(record, reproduced, scripts)]
    lines += ["## Files", "", *table(["file", "what it holds"], _files(reproduced, scripts))]
    lines += ["## Versions and machine of the run", ""]
    lines += table(["where", "what", "value"], _machine(record))
    return "\n".join(lines)


def _plug_in_note(label: Label, source: Source, copied: str | None) -> str:
    """What somebody else's backend needs, so that its script runs."""
    which = f"The backend is a plug-in ({label.origin}): {label.source}."
    if source.file is None:
        return f"{which} It must be importable: install what brings {source.place}."
    if copied is None:
        return (
            f"{which} Its file was not on this machine: put it, as {source.place}, in code/plug_in."
        )
    return (
        f"{which} Its file is in code/plug_in. It may import others that lay beside it, which were "
        "not copied: put them there too."
    )


def _interpreter(record: Record, label: str) -> str:
    """Under which interpreter a label's processes ran, and what was installed there."""
    installed: dict[str, str] = {}
    for process in record.results.get(label, Results()).processes:
        installed |= {"Python": process.facts.get("python", "unknown")} | versions(process.facts)
    listed = ", ".join(f"{name} {version}" for name, version in installed.items())
    return f"{record.plan.labels[label].python} ({listed or 'it told nothing of itself'})"


def _facts(record: Record, reproduced: Reproduced) -> list[list[str]]:
    at, worst = reproduced.at, reproduced.at.worst
    label = record.plan.labels[reproduced.label]
    how = f"{label.backend}, {label.variant}, {label.device}, {at.dtype}, {reproduced.precision}"
    return [
        ["label", f"{reproduced.label} ({how}, {record.plan.threads} threads)"],
        ["interpreter", _interpreter(record, reproduced.label)],
        ["rung", at.rung],
        ["batch", at.case],
        ["step", "none: a made batch" if at.step is None else str(at.step)],
        ["tensor", at.tensor],
        ["element", str(worst.index) if worst else "none"],
        ["expected", str(worst.want) if worst else "none"],
        ["got", str(worst.got) if worst else "none"],
        ["distance", "none" if at.distance is None else str(at.distance)],
        ["problem", at.problem or "none"],
        ["distance is", DISTANCES[reproduced.kind]],
        ["limit", f"{reproduced.limit.value:g}"],
        ["limit because", reproduced.limit.reason],
        ["hint", reproduced.hint or "none"],
        ["reference", record.plan.reference],
        ["run", f"{record.run}, {record.started}, harness {record.harness_version}"],
    ]


def _how(record: Record, reproduced: Reproduced, scripts: list[str]) -> list[str]:
    faulty = file_name(reproduced.label, record.plan.labels[reproduced.label])
    return [
        "The harness need not be installed. With the versions of the run, where it knew them:",
        "",
        "```",
        *_pip(record, reproduced.label),
        f"python {faulty}",
        "```",
        "",
        f"{escape(faulty)} computes the tensor again and ends with status 1 if the difference is "
        "there, with 0 if it is not, and with 125 if it cannot be told (a package is missing, a "
        "device is not there), so that `git bisect run` understands it. Status 0 means that the "
        "difference needs more than this batch: what was computed before it, another version, "
        "another machine. The others, "
        + ", ".join(escape(name) for name in scripts if name != faulty)
        + ", show what their frameworks make of the same numbers.",
        "",
        "To bisect the backends themselves, let `code/backends` be a link to the working tree's.",
        "",
    ]


def _pip(record: Record, faulty: str) -> list[str]:
    """The command lines of pip: first what every script needs, then a framework a line.

    Of a framework that entered in several versions, that of the label `faulty` or of the first.
    """
    installed = dict(record.machine)
    # The last to speak is believed.
    for name in (*reversed([name for name in record.results if name != faulty]), faulty):
        results = record.results.get(name, Results())
        for process in results.processes:
            installed |= versions(process.facts)
    pip = "python -m pip install"
    lines = [f"{pip} {_pinned('numpy', installed)[0]} {' '.join(REQUIREMENTS)}"]
    for entry in BACKENDS.values():
        if not entry.extra:
            continue
        known = [name for name in entry.distributions if name in installed]
        words = [_pinned(name, installed) for name in known or entry.package]
        local = next((tag for _, tag in words if tag), "")
        index = f" --extra-index-url {TORCH_INDEX}{local}" if local and known == ["torch"] else ""
        lines.append(f"{pip} {' '.join(word for word, _ in words)}{index}")
    return lines


def _pinned(name: str, installed: dict[str, str]) -> tuple[str, str]:
    """name==version and its local part; the bare name where the version is none."""
    version = VERSION.fullmatch(installed.get(name, ""))
    if version is None or len(version[0]) > 40:
        return name, ""
    return f"{name}=={version[0]}", version[2] or ""


def _files(reproduced: Reproduced, scripts: list[str]) -> list[list[str]]:
    lockstep = reproduced.at.rung == "lockstep"
    given = (
        "the parameters at the start (param.*), images uint8 (pixels are image / float32(255)), "
        "labels y, and the sizes of the batches"
        if lockstep
        else "what was given: parameters (param.*), pixels x, labels y"
    )
    return [
        *([name, "this framework, as the harness runs it"] for name in scripts),
        ["given.safetensors", given],
        ["want.safetensors", "what the reference gives"],
        ["got.safetensors", "what the label gave in the run"],
        ["divergence.json", "what the run stated, as data"],
        ["workload.json", "model, sizes, loss and optimiser, as data"],
        ["code/", "the backends, what they import of the harness, and the formulas of distance"],
    ]


def _machine(record: Record) -> list[list[str]]:
    rows = [["machine", name, value] for name, value in record.machine.items()]
    for name, results in record.results.items():
        for process in results.processes:
            where = f"{name} ({process.dtype})"
            rows += [[where, what, value] for what, value in process.facts.items()]
    return rows
