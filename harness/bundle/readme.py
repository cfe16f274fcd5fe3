"""The README of a bundle. Whatever a record says is escaped; only checked words enter a command."""

from __future__ import annotations

import re
from collections.abc import Iterator

from backends import BACKENDS
from harness import __version__
from harness.bundle.scripts import KINDS, Source, file_name, have_model, render, source_of
from harness.data import title
from harness.plan.model import Label
from harness.record.facts import versions
from harness.record.schema import Record, Results
from harness.results.kept import Reproduced
from harness.text import exact

# What the copied code imports beside the frameworks.
REQUIREMENTS = ("msgspec", "safetensors", "threadpoolctl")
# A version that may stand in a command line (PEP 440), with its local part apart.
VERSION = re.compile(r"(\d+(?:\.\d+)*[a-z0-9.]*)(?:\+([a-z0-9]+))?", re.ASCII)
# Local parts that PyTorch has an index for.
TORCH_INDEX = "https://download.pytorch.org/whl/"


def readme(
    record: Record,
    reproduced: Reproduced,
    scripts: list[str],
    planted: str | None,
    plug_in: str | None,
) -> str:
    """The whole text. planted, plug_in: the files of a fault and of a plug-in that were copied."""
    script = file_name(reproduced.label, record.plan.labels[reproduced.label])
    return render(
        "README.md.j2",
        at=reproduced,
        notes=[*_notes(record, reproduced, planted, plug_in)],
        facts=_facts(record, reproduced),
        pip=_pip(record, reproduced.label),
        script=script,
        others=[name for name in scripts if name != script],
        files=_files(reproduced, scripts),
        machine=_machine(record),
    )


def _notes(
    record: Record, reproduced: Reproduced, planted: str | None, plug_in: str | None
) -> Iterator[str]:
    """What a reader must know first."""
    label = record.plan.labels[reproduced.label]
    if reproduced.instead:
        yield reproduced.instead
    if label.plant is not None:
        copied = "its file and those beside it are in code/plant"
        lost = "its file was not on this machine, so no script has the fault"
        yield f"FAULT PLANTED on purpose: {label.plant}; {copied if planted else lost}."
    source = source_of(label)
    if source is not None and source.plug_in:
        yield _plug_in_note(label, source, plug_in)
    others = [n for n, o in record.plan.labels.items() if o.plant and n != reproduced.label]
    if others:
        yield f"Faults were planted in {', '.join(others)} too; their scripts are clean."
    if record.dataset is not None and record.dataset.synthetic:
        yield f"SYNTHETIC data, not {title(record.plan.workload.data)}."
    if record.harness_version != __version__:
        yield f"code/ is of harness {__version__}; the run was made with {record.harness_version}."


def _plug_in_note(label: Label, source: Source, copied: str | None) -> str:
    """What somebody else's backend needs, so that its script runs."""
    needs = (
        "Its file is in code/plug_in. It may import others that lay beside it, which were not "
        "copied: put them there too."
    )
    if source.file is None:
        needs = f"It must be importable: install what brings {source.place}."
    elif copied is None:
        needs = f"Its file was not on this machine: put it, as {source.place}, in code/plug_in."
    return f"The backend is a plug-in ({label.origin}): {label.source}. {needs}"


def _installed(record: Record, label: str) -> dict[str, str]:
    """The versions that a label's processes told; the last to speak is believed."""
    facts = [p.facts for p in record.results.get(label, Results()).processes]
    return {name: version for told in facts for name, version in versions(told).items()}


def _interpreter(record: Record, label: str) -> str:
    """Under which interpreter a label's processes ran, and what was installed there."""
    told = [p.facts.get("python", "unknown") for p in record.results[label].processes]
    listed = [f"Python {python}" for python in told[-1:]]
    listed += [f"{name} {version}" for name, version in _installed(record, label).items()]
    where = record.plan.labels[label].python
    return f"{where} ({', '.join(listed) or 'it told nothing of itself'})"


def _facts(record: Record, reproduced: Reproduced) -> list[tuple[str, object]]:
    at, worst = reproduced.at, reproduced.at.worst
    label = record.plan.labels[reproduced.label]
    how = f"{label.backend}, {label.variant}, {label.device}, {at.dtype}, {reproduced.precision}"
    return [
        ("label", f"{reproduced.label} ({how}, {record.plan.threads} threads)"),
        ("interpreter", _interpreter(record, reproduced.label)),
        ("rung", at.rung),
        ("batch", at.case),
        ("step", "none: a made batch" if at.step is None else at.step),
        ("tensor", at.tensor),
        ("element", worst and worst.index),
        ("expected", worst and worst.want),
        ("got", worst and worst.got),
        ("distance", at.distance),
        ("problem", at.problem),
        ("distance is", KINDS[reproduced.kind].distance),
        ("limit", exact(reproduced.limit.value)),
        ("limit because", reproduced.limit.reason),
        ("explanation", reproduced.explanation),
        ("hint", reproduced.hint),
        ("reference", record.plan.reference),
        ("run", f"{record.run}, {record.started}, harness {record.harness_version}"),
    ]


def _pip(record: Record, faulty: str) -> list[str]:
    """The command lines of pip: first what every script needs, then a framework a line.

    Of a framework that entered in several versions, that of the label `faulty` or of the first.
    """
    installed = dict(record.machine)
    for name in (*reversed([name for name in record.results if name != faulty]), faulty):
        installed |= _installed(record, name)
    pip = "python -m pip install"
    lines = [f"{pip} {_pinned('numpy', installed)[0]} {' '.join(REQUIREMENTS)}"]
    needed = {record.plan.labels[faulty].backend, *have_model(record.plan)}
    for entry in BACKENDS.values():
        if not entry.extra or entry.name not in needed:
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


def _files(reproduced: Reproduced, scripts: list[str]) -> list[tuple[str, str]]:
    given = "what was given: the state (state.*), samples x, targets y"
    if reproduced.at.rung == "lockstep":
        given = (
            "the state at the start (state.*), samples x or images uint8 (pixels are image / "
            "float32(255)), targets y, and the sizes of the batches"
        )
    return [
        *((name, "this framework, as the harness runs it") for name in scripts),
        ("given.safetensors", given),
        ("want.safetensors", "what the reference gives"),
        ("got.safetensors", "what the label gave in the run"),
        ("divergence.json", "what the run stated, as data"),
        ("workload.json", "model, sizes, loss and optimiser, as data"),
        ("code/", "the backends, what they import of the harness, and the formulas of distance"),
    ]


def _machine(record: Record) -> Iterator[tuple[str, str, str]]:
    yield from (("machine", name, value) for name, value in record.machine.items())
    for name, results in record.results.items():
        for process in results.processes:
            where = f"{name} ({process.dtype})"
            yield from ((where, what, value) for what, value in process.facts.items())
