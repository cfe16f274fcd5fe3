"""All that a run's folder consists of, written under every fault: `python -m tests.crash_jobs`.

The words: a job (calls, bytes, power; mistakes: all that are planted) and a folder to work in.
Prints one JSON document; `tests/test_crash.py` says what it must hold. What is written is written
by the project's own code; what it would compute (verdicts, pages, pictures) is made once.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import itertools
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from harness import bundle, files
from harness.cli import stored as verbs
from harness.errors import InputError
from harness.files import write_document
from harness.record import samples, schema, store
from harness.record.schema import Record
from harness.report import markdown
from harness.report import page as pages_of_reports
from harness.results import baseline
from harness.results import store as stored
from harness.run import ending, keeping
from harness.tensors import load_tensors, save_tensors
from harness.verdict import verdict
from harness.workers.pool import Key
from tests import crash, make
from tests.crash import State, Writing

RUN = "20260101T000000-abcdef"
TENSORS = {"x": np.arange(6000, dtype=np.float32).reshape(2, 3000), "y": np.array([1, 2])}


def made(**changes: Any) -> Record:
    """The record of a short run."""
    fields: dict[str, Any] = {"run": RUN, "seconds": 0.0}
    found = make.record(**(fields | changes))
    found.results["numpy"].operators = [schema.Operator(name="relu", dtype="float32")]
    return found


# -- what is there, and what it is -----------------------------------------------------------


@functools.cache
def read(document: bytes, table: bytes | None) -> Record | str:
    """What `store.read` says of a folder with these files: a record, or why not."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "record.json").write_bytes(document)
        if table is not None:
            (Path(name) / "steps.parquet").write_bytes(table)
        try:
            return store.read(Path(name))
        except InputError as error:
            return str(error)


@functools.cache
def judged(stored: bytes) -> bytes:
    """verdict.json of a record, without the path in it."""
    found = store.decode(stored, "stored")
    return msgspec.json.encode(verdict.to_json(found, JUDGE(found), ""))


JUDGE = verdict.judge


def wrong_record(folder: Path, allowed: list[Record], *, needed: bool) -> list[str]:
    """What is wrong with the record in a folder: it must be one of these, or not be there."""
    if not os.path.lexists(folder / "record.json"):
        try:
            store.read(folder)
        except InputError:
            return ["the record is lost"] if needed else []
        return ["a record is read that is not there"]
    table = folder / "steps.parquet"
    found = read(
        (folder / "record.json").read_bytes(), table.read_bytes() if table.exists() else None
    )
    if isinstance(found, str):
        return [f"half a record: {found}"]
    if found not in allowed:
        return ["another record"]
    if judged(store.encode(found)) not in map(judged, map(store.encode, allowed)):
        return ["another verdict"]
    wrong = []
    for kept in found.kept:
        try:
            tensors = load_tensors(str(folder / kept.file))
            same = tensors.keys() == TENSORS.keys()
            same = same and all(np.array_equal(tensors[n], v) for n, v in TENSORS.items())
        except Exception as error:
            wrong.append(f"kept tensors: {type(error).__name__}: {error}")
        else:
            wrong += [] if same else ["kept tensors: others"]
    return wrong


def wrong_store(root: Path) -> list[str]:
    """What is wrong with what the store makes of it: debris must not count as a run."""
    there = [path.parent.name for path in root.glob("runs/[!.]*/record.json")]
    runs = stored.find(root).runs if (root / "runs").exists() else []
    wrong = [] if [run.id for run in runs] == there else [f"the store finds {len(runs)} runs"]
    for run in runs:
        file = Path(run.folder) / "verdict.json"
        if file.exists() and run.judged is None:
            wrong.append("half a verdict")
    return wrong


def wrong_files(state: State) -> list[str]:
    """What is wrong with files each of which must be the old one or the new one, whole."""
    wrong = []
    sides = (state.new,) if state.finished else (state.old, state.new)
    for name in sorted(state.old.keys() | state.new.keys()):
        allowed = [side[name] for side in sides if name in side]
        if name in state.left:
            if state.left[name] not in allowed:
                wrong.append(f"{name} is neither the old nor the new one")
        elif state.finished or name in state.old:
            wrong.append(f"{name} is lost")
    return wrong


# -- the writings ----------------------------------------------------------------------------


def folder_of(root: Path) -> Path:
    return root / "runs" / RUN


def begin_run(root: Path) -> None:
    (root / "runs").mkdir()


class Run:
    """The end of a run: tensors are kept, then the record is stored."""

    held: Record
    clean: Record | None = None

    def write(self, root: Path) -> None:
        self.held = made()
        folder = store.new_run_folder(root)
        with ending.stored(
            self.held,
            folder,
            root,
            end_all=lambda: None,
            write=lambda: store.complete(self.held, folder),
        ):
            state = SimpleNamespace(folder=folder, record=self.held, plan=self.held.plan, trials=0)
            found = self.held.results["numpy"].measurements[0]
            keeping._keep(state, Key("numpy", "float32"), found, TENSORS)  # type: ignore[arg-type]
        self.clean = self.clean or self.held

    def wrong(self, state: State) -> list[str]:
        # Tensors that no record names are debris of a run without one.
        (folder,) = list((state.root / "runs").iterdir()) or [folder_of(state.root)]
        # What a child was to write, only a run that nothing happened to can tell.
        allowed = [self.held] if state.finished else [self.held, self.clean or self.held]
        return wrong_record(folder, allowed, needed=state.finished) + wrong_store(state.root)


def begin_record(root: Path) -> None:
    folder_of(root).mkdir(parents=True)
    store.write(made(), folder_of(root))


def wrong_first(state: State) -> list[str]:
    return wrong_record(folder_of(state.root), [made()], needed=True) + wrong_store(state.root)


def report(root: Path) -> None:
    """As `harness report` and `harness compare` end."""
    found = made()
    with contextlib.redirect_stdout(io.StringIO()):
        verbs.judge_and_store([(found, folder_of(root))], False, True, report=True)


def begin_reported(root: Path) -> None:
    begin_record(root)
    with crash.replaced((PAGES, "edition", "before")):
        report(root)
    document = json.loads((folder_of(root) / "verdict.json").read_text())
    (folder_of(root) / "verdict.json").write_text(json.dumps(document | {"older": True}))


def wrong_report(state: State) -> list[str]:
    wrong = wrong_files(state) + wrong_store(state.root)
    file = folder_of(state.root) / "verdict.json"
    if file.exists() and not wrong and json.loads(file.read_bytes())["run"] != RUN:
        wrong.append("verdict.json is of another run")
    return wrong


def baseline_of(run: str) -> baseline.Baseline:
    numpy = baseline.Stored(
        backend="numpy",
        variant="eager",
        device="cpu",
        dtype="float32",
        precision="strict",
        unit="floor",
        logs=[0.1] * 5,
        step_ns=[1e6] * 5,
        environment={f"version:{n}": "x" * 40 for n in range(80)},
    )
    return baseline.Baseline(
        machine={"a": "b"}, environment={}, run=run, started="", labels={"numpy": numpy}
    )


def save_baseline(root: Path, run: str = "new") -> None:
    write_document(root / "baselines" / "machine.json", baseline_of(run))


def begin_baseline(root: Path) -> None:
    (root / "baselines").mkdir()
    save_baseline(root, "old")


def wrong_baseline(state: State) -> list[str]:
    file, wrong = state.root / "baselines" / "machine.json", wrong_files(state)
    if file.exists() and not wrong and baseline.read(file).run not in ("old", "new"):
        wrong.append("another baseline")
    return wrong


def bundle_up(root: Path) -> None:
    with bundle._whole_folder(folder_of(root) / "bundle") as folder:
        (folder / "README.md").write_text("words\n" * 100, encoding="utf-8")
        (folder / "code").mkdir()
        (folder / "code" / "script.py").write_text("print()\n" * 100, encoding="utf-8")
        save_tensors(str(folder / "given.safetensors"), TENSORS)


def wrong_bundle(state: State) -> list[str]:
    if not state.finished and not (folder_of(state.root) / "bundle").exists():
        return wrong_first(state)
    return wrong_files(State(state.root, state.new, state.new, state.left, True))


def writings() -> list[Writing]:
    run = Run()
    return [
        Writing("run", begin_run, run.write, run.wrong),
        Writing("report again", begin_reported, report, wrong_report),
        Writing("baseline again", begin_baseline, save_baseline, wrong_baseline),
        Writing("bundle", begin_record, bundle_up, wrong_bundle),
    ]


# -- mistakes that must be seen --------------------------------------------------------------


@contextlib.contextmanager
def atomic_in_place(path: Path) -> Iterator[Any]:
    """The file itself is opened and filled."""
    try:
        with open(path, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        files.sync(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {files.why(error)}") from None


@contextlib.contextmanager
def atomic_renamed_first(path: Path) -> Iterator[Any]:
    """The name is given before what it names is on the disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w+b") as file:
            yield file
            file.flush()
            os.replace(temporary, path)
            os.fsync(file.fileno())
        files.sync(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {files.why(error)}") from None


@contextlib.contextmanager
def atomic_that_keeps_silent(path: Path) -> Iterator[Any]:
    """A disk that is full is nobody's business."""
    with contextlib.suppress(InputError), REAL_ATOMIC(path) as file:
        yield file


def write_record_first(found: Record, folder: Path) -> Path:
    """record.json is there before the samples that it names."""
    there = folder / "steps.parquet"
    stored = samples.strip(found)
    stored.samples = samples.store(found, there)
    content = there.read_bytes()
    os.unlink(there)
    files.write_atomic(folder / "record.json", store.encode(stored))
    files.write_atomic(there, content)
    return folder / "record.json"


def complete_named_first(found: Record, folder: Path) -> None:
    """The run has its name before it is written."""
    folder = folder.rename(folder.with_name(found.run))
    write_record_first(found, folder)


def no_sync(path: Path) -> None:
    """Names and tensors are on the disk when the system pleases."""


REAL_ATOMIC = files.atomic


def everywhere(atomic: Any) -> list[tuple[Any, str, Any]]:
    return [(files, "atomic", atomic), (samples, "atomic", atomic)]


# What is changed, what is then written, and what must show it.
MISTAKES: dict[str, tuple[list[tuple[Any, str, Any]], str, str]] = {
    "written in place, killed": (everywhere(atomic_in_place), "report again", "killed"),
    "written in place, full": (everywhere(atomic_in_place), "baseline again", "bytes"),
    "renamed before fsync": (everywhere(atomic_renamed_first), "report again", "power"),
    "errors kept silent": (everywhere(atomic_that_keeps_silent), "run", "fails"),
    "named first, killed": ([(store, "complete", complete_named_first)], "run", "killed"),
    "folder not synced": ([(store, "sync", no_sync)], "run", "power"),
    "tensors not synced": ([(keeping, "sync", no_sync)], "run", "power"),
    "bundle not synced": ([(bundle, "sync", no_sync)], "bundle", "power"),
}


# -- the jobs --------------------------------------------------------------------------------

PAGES = SimpleNamespace(edition="now")


def page(length: int) -> Callable[..., str]:
    """In place of what is drawn and rendered: text of so many bytes."""
    return lambda *_args, **_named: (PAGES.edition + " " * length)[:length]


def write_quickly(rows: list[samples.Row], descriptor: int) -> None:
    """The bytes that DuckDB writes, as another writer that is not Python's would write them.

    Ten times as fast; only where DuckDB itself has been struck already, or cannot be.
    """
    key = msgspec.json.encode(rows)
    if key not in WRITTEN:
        REAL_WRITE_PARQUET(rows, descriptor)
        WRITTEN[key] = REAL_PREAD(descriptor, 2**30, 0)
    at = 0
    while at < len(WRITTEN[key]):
        at += REAL_PWRITE(descriptor, WRITTEN[key][at:], at)


WRITTEN: dict[bytes, bytes] = {}
REAL_WRITE_PARQUET, REAL_PREAD, REAL_PWRITE = samples.write_parquet, os.pread, os.pwrite
QUICK = (samples, "write_parquet", write_quickly)


def made_up() -> list[tuple[Any, str, Any]]:
    """What is computed, not written: made once, so that a trial takes milliseconds."""
    judged_once = JUDGE(made())
    return [
        (verdict, "judge", lambda *_: judged_once),
        (markdown, "render", page(9000)),
        (pages_of_reports, "render", page(30_000)),
        (ending, "time", SimpleNamespace(monotonic=lambda: 0.0)),
        (store, "new_name", lambda: RUN),
    ]


def calls_job(bench: crash.Bench) -> dict[str, Any]:
    counted = Counter(bench.calls)
    otherwise = bench.counted_otherwise()
    killed = bench.kill_calls()
    with crash.replaced(QUICK):
        failed = bench.fail_calls()
    return {
        "calls": len(bench.calls),
        "counted": {
            "os": {n: counted[n] for n in sorted(counted) if n in crash.CHANGING},
            "io.open": counted["io.open"] + counted["fdopen"] + bench.reads,
            "unknown": [],
            "writes": counted["file.write"] + counted["write"],
        },
        "counted otherwise": otherwise,
        "points": killed.points + failed.points,
        "wrong": killed.wrong + failed.wrong,
        "errors": failed.errors,
    }


def bytes_job(bench: crash.Bench, number: int = 62) -> dict[str, Any]:
    names = bench.written()
    tables = [name for name in names if name.endswith(".parquet")]
    found = bench.strike_bytes(tables, number)
    with crash.replaced(QUICK):
        found |= bench.strike_bytes([name for name in names if name not in tables], number)
    return {
        "files": {os.path.basename(name): trials.points for name, trials in found.items()},
        "points": sum(trials.points for trials in found.values()),
        "wrong": list(itertools.chain.from_iterable(t.wrong for t in found.values())),
    }


def power_job(bench: crash.Bench) -> dict[str, Any]:
    found = bench.cut_power()
    return {"points": found.points, "wrong": found.wrong}


JOBS = {"calls": calls_job, "bytes": bytes_job, "power": power_job}
# Byte by byte the files that tell of a run; a bundle is a folder named when it is whole.
NOT_STRUCK = {"bytes": ("bundle",)}


def do(job: str, writing: Writing, folder: Path) -> dict[str, Any]:
    # DuckDB itself writes the run's samples; elsewhere it would be struck again in the same way.
    with crash.replaced(*([QUICK] if writing.name != "run" else [])):
        return JOBS[job](crash.Bench(writing, folder))


def do_mistakes(folder: Path) -> dict[str, list[str]]:
    """What is wrong after each mistake, at the first points where anything is."""
    chosen = {writing.name: writing for writing in writings()}
    strikes: dict[str, Callable[[crash.Bench], list[str]]] = {
        "fails": lambda bench: bench.fail_calls(("EIO told",), 1).wrong,
        "killed": lambda bench: bench.kill_calls(1).wrong,
        "bytes": lambda bench: bytes_job(bench, 4)["wrong"],
        "power": lambda bench: bench.cut_power().wrong,
    }
    found = {}
    for number, (name, (changes, written, strike)) in enumerate(MISTAKES.items()):
        with crash.replaced(QUICK, *changes):
            bench = crash.Bench(chosen[written], folder / str(number))
            found[name] = strikes[strike](bench)[:10]
    return found


def main(job: str, folder: str) -> None:
    # A child must not touch what it shares, which would be copied.
    gc.freeze()
    with crash.replaced(*made_up()):
        if job == "mistakes":
            found: dict[str, Any] = do_mistakes(Path(folder))
        else:
            chosen = [w for w in writings() if w.name not in NOT_STRUCK.get(job, ())]
            found = {w.name: do(job, w, Path(folder) / w.name) for w in chosen}
    print(json.dumps(found), flush=True)
    os._exit(0)  # what libraries complain of when an interpreter ends is not the matter


if __name__ == "__main__":
    main(*sys.argv[1:])
