"""A record's first divergence as a folder that shows it without the harness.

Takes a stored record and the tensors beside it; starts no worker and imports no framework. A
record may come from anywhere: nothing in it becomes a path outside the bundle, or code.
"""

from __future__ import annotations

import contextlib
import json
import keyword
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

import backends
from backends import BACKENDS, STILL_BLAS
from backends.rooms import place
from harness import interface
from harness.bundle import reproduction, scripts
from harness.bundle.readme import readme
from harness.errors import InputError
from harness.files import beside, sync, why
from harness.measure import distance
from harness.measure.distance import Difference, Formula, compare, compare_bits
from harness.plan.model import Label, Plan, process_precision
from harness.record.schema import Record
from harness.results.kept import Reproduced, Tensors, find, read_tensors
from harness.tensors import save_tensors
from harness.text import clean
from harness.verdict.verdict import judge

# What a stated distance and the one of the kept tensors may differ by: they are the same numbers.
SAME = 1e-6


@dataclass(frozen=True)
class Made:
    """A bundle that was written; the files of a fault (`planted`) and of a `plug_in`, if copied."""

    folder: Path
    reproduced: Reproduced
    scripts: list[str]
    planted: str | None
    plug_in: str | None


def make_bundle(record: Record, run_folder: Path, out: Path) -> Made:
    """Write the reproduction of a record's first divergence to `out`, whole or not at all.

    Raises InputError where there is none to write: nothing diverges, nothing was kept, the tensors
    cannot be read or are not the record's, or `out` is a link or not empty.
    """
    reproduced = find(record, judge(record))
    label = record.plan.labels[reproduced.label]
    if scripts.source_of(label) is None:
        source = clean(label.source or label.backend)
        raise InputError(
            f"tensors kept of {clean(reproduced.label)}: no such backend here: {source}"
        )
    if os.path.islink(out):
        # A run's folder that came from elsewhere may hold one that leads anywhere.
        raise InputError(f"{out}: a symbolic link; choose another --out")
    out = Path(os.path.realpath(out))
    _check_free(out)
    tensors = read_tensors(record, run_folder, reproduced)
    check_stated(reproduced, tensors)
    with _whole_folder(out) as folder:
        planted = _copy_code(folder / "code", label.plant, record.plan)
        plug_in = _copy_plug_in(folder / "code" / "plug_in", label)
        sources = _sources(record, reproduced, planted)
        for name, source in sources.items():
            (folder / name).write_text(source, encoding="utf-8")
        for part in ("given", "want", "got"):
            save_tensors(str(folder / f"{part}.safetensors"), getattr(tensors, part))
        (folder / "workload.json").write_bytes(msgspec.json.encode(record.plan.workload))
        stated = json.dumps(_stated(reproduced), indent=1, allow_nan=False) + "\n"
        (folder / "divergence.json").write_text(stated, encoding="utf-8")
        (folder / "README.md").write_text(
            readme(record, reproduced, list(sources), planted, plug_in), encoding="utf-8"
        )
    return Made(out, reproduced, list(sources), planted, plug_in)


def describe(made: Made) -> dict[str, object]:
    """What was written, as plain data."""
    stated = _stated(made.reproduced)
    made_of = {"scripts": made.scripts, "planted": made.planted, "plug_in": made.plug_in}
    return {"bundle": str(made.folder)} | made_of | stated


def as_text(made: Made) -> str:
    """What was written, for a terminal."""
    stated = made.reproduced
    lines = [clean(str(made.folder)), stated.sentence]
    lines += [stated.instead] if stated.instead else []
    if made.planted:
        lines.append(f"FAULT PLANTED; copied with the files beside it: {clean(made.planted)}")
    if made.plug_in:
        lines.append(
            f"PLUG-IN copied, without whatever it imports beside it: {clean(made.plug_in)}"
        )
    return "\n".join([*lines, f"scripts: {', '.join(made.scripts)}"])


def check_stated(reproduced: Reproduced, tensors: Tensors) -> None:
    """InputError unless the kept tensors are as far apart as the record says."""
    at = reproduced.at
    try:
        kept = _difference(reproduced, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"tensors {clean(reproduced.kept.file)}: {error}") from None
    stated = None if at.distance is None else float(at.distance)
    if (at.problem is None) != (kept.problem is None) or not _same(stated, kept.distance):
        raise InputError(
            f"tensors {clean(reproduced.kept.file)}: their distance is {kept.distance}, the "
            f"record's {stated}: not the tensors of this record"
        )


def _difference(reproduced: Reproduced, tensors: Tensors) -> Difference:
    """What the label's script shows, from the tensors that the run kept."""
    at, got = reproduced.at, tensors.got.get(reproduced.key)
    want = tensors.want[_wanted(reproduced)]
    if at.rung == "inputs":
        return compare_bits(got, want)
    formula: Formula = distance.centred if reproduced.kind == "centred" else distance.plain
    if reproduced.kind == "update":
        want_of = tensors.want.get
        change, free = tensors.want[f"change.{at.tensor}"], want_of(f"allowed.{at.tensor}")
        formula = distance.excess_update(tensors.given[f"state.{at.tensor}"], change, free)
    return compare(got, want, _compared_as(reproduced), formula)


def _compared_as(reproduced: Reproduced) -> str:
    """The dtype that is expected: of a loss, a Python float."""
    return "float64" if reproduced.at.rung == "loss" else reproduced.kept.dtype


def _wanted(reproduced: Reproduced) -> str:
    """The name in want.safetensors: a loss is wanted once, however it came."""
    return "loss" if reproduced.at.rung == "loss" else reproduced.key


def _same(stated: float | None, measured: float | None) -> bool:
    if stated is None or measured is None or math.isnan(stated):
        return str(stated) == str(measured)
    return math.isclose(stated, measured, rel_tol=SAME)


def _stated(reproduced: Reproduced) -> dict[str, object]:
    """divergence.json: what the run said, as plain data."""
    at, worst = reproduced.at, reproduced.at.worst
    return {
        "label": clean(reproduced.label),
        "rung": at.rung,
        "case": clean(at.case),
        "step": at.step,
        "dtype": at.dtype,
        "precision": clean(reproduced.precision),
        "tensor": clean(at.tensor),
        "index": worst.index if worst else None,
        "expected": worst.want if worst else None,
        "got": worst.got if worst else None,
        "distance": at.distance,
        "problem": clean(at.problem) if at.problem else None,
        "limit": reproduced.limit.value,
        "reason": reproduced.limit.reason,
        "sentence": reproduced.sentence,
        "hint": clean(reproduced.hint) if reproduced.hint else None,
        "explanation": reproduced.explanation,
        "instead": reproduced.instead,
        "first_loss": reproduced.first if reproduced.kind == "losses" else 0,
    }


def _sources(record: Record, reproduced: Reproduced, planted: str | None) -> dict[str, str]:
    """The scripts by file name: for every framework that has the model, and what diverges."""
    faulty = record.plan.labels[reproduced.label]
    known = scripts.have_model(record.plan)
    labels = {name: _label_of(record, name) for name in known}
    # A plug-in's variables are the harness's own; a record's could be any.
    labels[scripts.title(reproduced.label, faulty)] = faulty
    dtype, sources = reproduced.kept.dtype, {}
    for name, label in labels.items():
        entry, own = BACKENDS.get(name), label is faulty
        device = label.device if label else "cpu"
        variant = label.variant if label else BACKENDS[name].variants[0]
        precision = process_precision(label, dtype) if label else "strict"
        source = scripts.source_of(faulty) if own else None
        sources[f"reproduce_{name}.py"] = scripts.script(
            name,
            source or scripts.built_in(name),
            entry.environment if entry is not None else STILL_BLAS,
            (device, dtype, record.plan.threads, variant, precision),
            kind=reproduced.kind,
            tensor=reproduced.at.tensor,
            wanted=_wanted(reproduced),
            dtype=_compared_as(reproduced),
            plant=faulty.plant if own else None,
            planted=planted,
            rooms=bool(record.plan.rooms),
        )
    return sources


def _label_of(record: Record, backend: str) -> Label | None:
    """The first label of a built-in backend."""
    labels = record.plan.labels.values()
    return next((x for x in labels if x.backend == backend and scripts.is_built_in(x)), None)


def _copy_plug_in(folder: Path, label: Label) -> str | None:
    """Copy the file of a plug-in; that file, or None where there is none on this machine."""
    source = scripts.source_of(label)
    if source is None or source.file is None or not os.path.isfile(source.file):
        return None
    folder.mkdir(parents=True)
    shutil.copyfile(source.file, folder / source.place)
    return source.file


def _copy_code(code: Path, plant: str | None, plan: Plan) -> str | None:
    """What the scripts import: backends, the interface, the formulas, and a planted fault.

    Also the model's files in a user's own rooms.

    Returns the fault's file, None where there is none to copy.
    """
    rooms = Path(backends.__file__).parent
    files = {file: Path("backends") / file.relative_to(rooms) for file in rooms.rglob("*.py")}
    files[Path(interface.__file__)] = Path("harness", "interface.py")
    files[Path(distance.__file__)] = Path("harness", "measure", "distance.py")
    files[Path(reproduction.__file__)] = Path("reproduction.py")
    for name in BACKENDS:
        own = place(name, plan.workload.model, plan.rooms) if plan.rooms else None
        if own is not None and own.is_relative_to(plan.rooms):
            files[own] = Path("rooms", name, own.name)
    planted = _plant_file(plant) if plant is not None else None
    if planted is not None:
        beside = (file for file in Path(planted).parent.glob("*.py") if os.path.isfile(file))
        files |= {file: Path("plant", file.name) for file in beside}
    for source, to in files.items():
        (code / to).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, code / to)
    for package in ("harness", "harness/measure"):
        (code / package / "__init__.py").touch()
    return planted


def _plant_file(plant: str) -> str | None:
    """The Python file that FILE:FUNCTION names, if it is on this machine."""
    file, _, function = plant.rpartition(":")
    usable = function.isidentifier() and not keyword.iskeyword(function) and "\0" not in file
    usable = usable and os.path.isabs(file) and file.endswith(".py")
    return file if usable and os.path.isfile(file) else None


def _check_free(out: Path) -> None:
    """InputError unless `out` is nothing yet, or an empty folder."""
    try:
        if os.path.lexists(out) and (not os.path.isdir(out) or any(out.iterdir())):
            raise InputError(f"{out}: already there and not an empty folder; choose another --out")
    except OSError as error:
        raise InputError(f"{out}: {why(error)}") from None


@contextlib.contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that becomes `out` at the end, or goes away."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = beside(out)
        folder.mkdir()
        try:
            yield folder
            for path in (*folder.rglob("*"), folder):
                sync(path)
            folder.rename(out)
            sync(out.parent)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise InputError(f"cannot write {out}: {why(error)}") from None
