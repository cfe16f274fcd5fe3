"""The verb sweep: many runs as one grid, each done once, and one table of them all."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from harness.cli import options as opts
from harness.cli.output import at_work, out, print_document, show, warn
from harness.errors import InputError
from harness.files import new_name, read_bytes, read_toml

if TYPE_CHECKING:
    from harness.report import matrix
    from harness.run.cluster import Cluster
    from harness.run.sweep import Grid, Local

WORDS = (
    *("profile", "seeds", "sessions", "rounds", "backend", "python", "variant", "all_variants"),
    *("plant", "device", "dtype", "precision", "threads", "timeout", "memory_limit"),
    *("workload", "rooms", "dataset", "data_dir"),
)
GridFile = Annotated[
    opts.Place,
    opts.argument(
        "FILE.toml",
        'Options by their names, as workload = "all-small": all below but those under "Options".',
    ),
]
Jobs = Annotated[
    opts.Whole,
    opts.option("--jobs N", "Cells at a time; default: as many as there are processors for."),
]
Accept = Annotated[
    opts.Place,
    opts.option("--accept FILE", "A TOML file of differences that are known, each with a reason."),
]
On = Annotated[
    str,
    opts.option("--on local|ray|ray://HOST:PORT", "Where: here, or on a Ray cluster."),
]
DryRun = Annotated[bool, opts.option("--dry-run", "Only list the cells, and how long they take.")]


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of differences that are accepted."""

    accept: list[dict[str, str]]


@opts.choosing(*WORDS, says={"workload": opts.WORKLOADS})
def sweep(
    words: opts.Words,
    file: GridFile = None,
    jobs: Jobs = None,
    on: On = "local",
    accept: Accept = None,
    dry_run: DryRun = False,
    results_dir: opts.ResultsDir = Path("results"),
    no_cache: opts.NoCache = False,
    as_json: opts.Json = False,
) -> int:
    """Every workload x label x seed as a run of its own; what is done is not done again.

    A cell finds the numbers of one label at one seed; with --sessions each workload is timed too.
    Ctrl-C, or worse, leaves what is finished: the same words go on from there.
    """
    from harness.cli import several
    from harness.run import sweep as running

    chosen = _read(file, words) if file is not None else dict(words)
    accepted = _accepted(accept) if accept is not None else []
    if jobs is not None and not 1 <= jobs <= 1000:
        raise InputError(f"--jobs {jobs}: choose from 1 to 1000")
    if on not in ("local", "ray") and not on.startswith("ray://"):
        raise InputError(f"--on {on}: choose from local, ray, ray://HOST:PORT")
    place = results_dir / "sweeps"
    named = chosen.pop("workload")
    specs = several.names(named) or [named]
    with at_work() as progress:
        grid = running.make(opts.choices(chosen), specs, place, progress)
        if not dry_run:
            try:
                with _place(on, no_cache=no_cache) as there:
                    running.run(grid, there, jobs, progress)
            except KeyboardInterrupt:
                progress.note(f"interrupted: {running.so_far(grid)}; the same words go on with it")
                raise
    if dry_run:
        document = _listed(grid)
        print_document(document, as_json, _as_text(document))
        return 0
    return _tell(grid, place, accepted, as_json)


def _place(on: str, *, no_cache: bool) -> Local | Cluster:
    """Where cells are carried out; InputError where there is no cluster."""
    from harness.run.cell import NO_CACHE
    from harness.run.cluster import Cluster
    from harness.run.sweep import Local

    words = (NO_CACHE,) if no_cache else ()
    if on == "local":
        return Local(*words)
    return Cluster("auto" if on == "ray" else on, *words)


def _read(file: Path, words: opts.Words) -> dict[str, Any]:
    """The words of a file, where none is given besides; InputError for one that is none."""
    found, of_file = dict(words), set[str]()
    for written, value in read_toml(file, "sweep", dict[str, Any]).items():
        name = written.replace("-", "_")
        if name not in WORDS:
            raise InputError(f"sweep {file}: {written}: unknown; choose from {', '.join(WORDS)}")
        if name in of_file:
            raise InputError(f"sweep {file}: {name}: once with - and once with _")
        of_file.add(name)
        if name not in words.given:
            try:
                found[name] = _value(name, value)
            except (msgspec.ValidationError, ValueError) as error:
                raise InputError(f"sweep {file}: {name}: {error}") from None
    return found


def _value(name: str, value: Any) -> Any:
    """A word as the command line would have it; ValueError for one that it cannot have."""
    kind = opts.CHOOSING[name].kind
    if value == []:
        raise ValueError("an empty list; leave it out")
    if name == "seeds" and type(value) is int:
        value = [value]
    if name in ("workload", "seeds") and isinstance(value, list):
        value = ",".join(map(str, value))
    if kind == opts.Texts and isinstance(value, str):
        value = [value]
    return msgspec.convert(value, str if kind == opts.Place else kind)


def _accepted(file: Path) -> list[matrix.Accepted]:
    from harness.report.matrix import Accepted

    try:
        found = [msgspec.convert(one, Accepted) for one in read_toml(file, "file", Known).accept]
    except msgspec.ValidationError as error:
        raise InputError(f"file {file}: {error}") from None
    if any(not one.reason.strip() for one in found):
        raise InputError(f"file {file}: every accepted difference needs a reason")
    return found


def _listed(grid: Grid) -> dict[str, Any]:
    """The cells, which are done, and the seconds that the others will take, if one can tell."""
    from harness.run import cell

    cells, seconds = [], dict[str, list[float]]()
    for each in grid.cells:
        run = cell.finished(each.folder)
        cells.append({"cell": each.name, "key": each.folder.name, "done": run is not None})
        if run is not None:
            head = msgspec.json.decode(read_bytes(run / "record.json", "record"), type=_Head)
            seconds.setdefault(each.workload, []).append(head.seconds)
    every = [s for of in seconds.values() for s in of]
    left = [
        sum(known) / len(known)
        for each, told in zip(grid.cells, cells, strict=True)
        if not told["done"] and (known := seconds.get(each.workload) or every)
    ]
    return {"cells": cells, "seconds_left": math.ceil(sum(left)) if every else None}


class _Head(msgspec.Struct):
    seconds: float


def _as_text(document: dict[str, Any]) -> str:
    lines = [
        f"{'done ' if each['done'] else 'to do'}  {each['key']}  {each['cell']}"
        for each in document["cells"]
    ]
    todo = sum(not each["done"] for each in document["cells"])
    seconds = document["seconds_left"]
    time = "" if seconds is None or not todo else f", some {seconds} s one after another"
    return "\n".join([*lines, f"{len(lines)} cells, {todo} to do{time}"])


def _tell(grid: Grid, place: Path, accepted: list[matrix.Accepted], as_json: bool) -> int:
    """Judge every cell, write the table and print it; the exit status."""
    from harness.cli import several
    from harness.report import matrix

    rows = _rows(grid)
    document = matrix.document(rows, accepted)
    moved = _moved(place, document)
    report = matrix.report(rows, place, accepted, moved)
    written = several.write(place / new_name(), report, document)
    if as_json:
        out(json.dumps(document, allow_nan=False) + "\n")
        for line in (*moved, *matrix.gone_lines(matrix.gone(rows, accepted))):
            warn(line)
    else:
        show(report)
        out("".join(f"written: {file}\n" for file in written))
    return {"failed": 3, "disagree": 1}.get(report.word, 0)


def _rows(grid: Grid) -> list[matrix.Row]:
    """A row a workload; each run judged, with its verdict and its page beside it."""
    from harness.cli.stored import judge_one
    from harness.record import store
    from harness.record.schema import INTERRUPTED
    from harness.report import matrix
    from harness.run import cell
    from harness.verdict.verdict import judge

    runs: dict[str, dict[str, list[matrix.Run]]] = {name: {} for name in grid.skipped}
    reasons: dict[str, dict[str, str]] = {name: {} for name in grid.skipped}
    timed = {}
    for each in grid.cells:
        label = each.label or matrix.TIMING
        found = runs[each.workload].setdefault(label, [])
        if (run := cell.stored(each.folder)) is None:
            reasons[each.workload][label] = cell.said(each.folder) or "no run was stored"
            continue
        try:
            record = store.read(run)
        except InputError as error:
            reasons[each.workload][label] = str(error)
            continue
        if record.ended == INTERRUPTED:
            reasons[each.workload][label] = record.ended
        told = all(map(os.path.lexists, (run / "report.html", run / "verdict.json")))
        judged = judge(record) if told else judge_one(record, run, strict=False)[0]
        found.append(matrix.Run(record, judged, str(run.resolve())))
    for workload, of in runs.items():
        timed[workload] = next(iter(of.pop(matrix.TIMING, ())), None)
    return [
        matrix.Row(name, of, timed[name], reasons[name], grid.skipped[name])
        for name, of in runs.items()
    ]


def _moved(place: Path, document: dict[str, Any]) -> list[str]:
    """What the cells that the last sweep had too said then, where they say something else now."""
    # Names tell them apart to a second.
    last = max(
        place.glob("*.json"),
        key=lambda file: (file.name.partition("-")[0], os.path.getmtime(file)),
        default=None,
    )
    if last is None:
        return []
    try:
        before = msgspec.json.decode(read_bytes(last, "table"), type=dict[str, Any])
        said = {
            (workload, name): (of["word"], of["first_divergence"])
            for workload, row in before.items()
            for name, of in row["labels"].items()
        }
    except (InputError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        warn(f"{last}: not a table of a sweep; nothing is compared with it")
        return []
    lines = []
    for workload, row in document.items():
        for name, of in row["labels"].items():
            now, then = (of["word"], of["first_divergence"]), said.get((workload, name))
            if then is not None and then != now:
                texts = (": ".join(filter(None, each)) or "not run" for each in (then, now))
                lines.append(f"moved: {workload}, {name}: {' → '.join(texts)}")
    return lines
