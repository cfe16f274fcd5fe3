"""What survives of a run that is cut off: `checkpoint/` in its folder, until the run has ended.

    identity.json          what must be the same where it goes on
    record-<sha256>        what is finished: phases whole, and every training
    training-.../          the training in progress, up to an epoch (`workers/desks/reached.py`)
    lock                   held while the run is at work

A file that is named after its digest is believed only while it has that digest: else what it held
is done again. Imports no framework.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from filelock import FileLock, Timeout

from harness import files
from harness.errors import InputError
from harness.interface import Array
from harness.record.facts import describe_machine, host_key
from harness.record.operators import Truth
from harness.record.schema import Case, Explained, Kept, Record, Results, Stored
from harness.run.identity import Identity
from harness.workers.desks import reached
from harness.workers.pool import Key, Pool

FOLDER, LOCK = "checkpoint", "lock"
IDENTITY, RECORD, TRAINING = "identity.json", "record", "training-"


class Refused(InputError):
    """What was cut off was of other numbers, or is still at work."""


class Of(Stored, kw_only=True):
    """Whose checkpoint it is: the run, what decides its numbers, and the machine (`host_key`)."""

    runs: list[str]
    identity: Identity
    machine: dict[str, str]


class Finished(Stored, kw_only=True):
    """As in the record, of the phases that are done; `predicted` as the run's state has it.

    `tensors`: the SHA-256 of each kept file, by its name.
    """

    phases: list[str]
    results: dict[str, Results]
    cases: list[Case]
    kept: list[Kept]
    explained: list[Explained]
    truths: list[Truth]
    predicted: dict[str, list[int]]
    tensors: dict[str, str]


def find(name: Path, results_dir: Path) -> Path:
    """The folder of a run that was cut off: by its path, its name, or "latest".

    InputError where there is none.
    """
    runs = results_dir / "runs"
    if str(name) == "latest":
        if (newest := newest_of(runs)) is None:
            raise InputError(f"--resume latest: no run was cut off in {runs}")
        return newest
    for folder in (name, runs / name, runs / f".{name}"):
        if os.path.isfile(folder / FOLDER / IDENTITY):
            return folder
    raise InputError(f"--resume {name}: nothing to go on from: no run that was cut off is there")


def newest_of(runs: Path) -> Path | None:
    """Of a folder's runs the last one that was cut off."""
    found = [file.parents[1] for file in runs.glob(f"*/{FOLDER}/{IDENTITY}")]
    return max(found, key=lambda folder: folder.name.removeprefix("."), default=None)


def read(folder: Path) -> Of:
    """Whose the checkpoint in a run's folder is; Refused where nobody can tell."""
    path = folder / FOLDER / IDENTITY
    try:
        return msgspec.json.decode(files.read_bytes(path, "checkpoint"), type=Of)
    except files.UNREADABLE:
        raise Refused(f"checkpoint {path}: damaged, or another harness's; measure anew") from None


@contextmanager
def claimed(left: Path | None, identity: Identity) -> Iterator[Of]:
    """Within, nobody else goes on from a run that was cut off; whose its checkpoint is.

    left: its folder; None: of a run that goes on from none. Refused where it is at work, or was of
    another plan, other data, versions or files than `identity`, or on another machine.
    """
    here = Of(runs=[], identity=identity, machine=host_key(describe_machine()))
    if left is None:
        yield here
        return
    lock = FileLock(left / FOLDER / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Refused(f"--resume {left}: that run is still at work") from None
    try:
        of = read(left)
        if others := _differing(of, here):
            raise Refused(
                f"--resume {left}: cut off with another {', another '.join(others)}; measure anew"
            )
        yield of
    finally:
        lock.release()


def _differing(of: Of, here: Of) -> list[str]:
    """In what two differ, in words."""
    names = {"plan": "plan", "data": "data set", "versions": "version of a package"}
    names |= {"harness": "version of the harness", "files": "version of your own files"}
    pairs = [
        (word, getattr(of.identity, name), getattr(here.identity, name))
        for name, word in names.items()
    ]
    pairs.append(("machine", of.machine, here.machine))
    return [word for word, a, b in pairs if msgspec.json.encode(a) != msgspec.json.encode(b)]


class Checkpoint:
    """That of a run at work. `phases`: those that are done; `runs`: those that were cut off.

    folder: the run's. left: the folder of a run that was cut off, `claimed`, whose checkpoint it
    takes over; where no record was stored in it, nothing else of it stays.
    """

    def __init__(self, folder: Path, of: Of, left: Path | None) -> None:
        self.folder, self.runs = folder / FOLDER, of.runs
        self.phases: list[str] = []
        self._lock: FileLock | None = None
        if left is None:
            self.folder.mkdir()
            self._lock = FileLock(self.folder / LOCK)
            self._lock.acquire()
        else:
            if os.path.isdir(left / "tensors"):
                shutil.copytree(left / "tensors", folder / "tensors")
            (left / FOLDER).rename(self.folder)
            if left.name.startswith("."):
                files.remove(left)
        own = [*of.runs, folder.name.removeprefix(".")]
        files.write_document(self.folder / IDENTITY, msgspec.structs.replace(of, runs=own))

    def worth(self) -> bool:
        """Whether somebody who goes on has anything of it."""
        return any(self.folder.glob(f"{RECORD}-*")) or any(
            self.folder.glob(f"{TRAINING}*/{reached.STEM}-*")
        )

    def end(self, folder: Path, *, finished: bool) -> None:
        """The run is stored in `folder`; one that is finished leaves nothing to go on from."""
        if self._lock is not None:
            self._lock.release()
        if finished:
            files.remove(folder / FOLDER)

    def training(
        self, name: str, seed: int, place: str, note: Callable[[str], None]
    ) -> tuple[Path, str]:
        """Where a free training writes, and the file that it goes on from, "" from its start.

        name: of its label, for people; place: of its process, fit for a file's name.
        """
        out = self.folder / f"{TRAINING}{place}-{seed}"
        for other in self.folder.glob(f"{TRAINING}*"):
            if other != out:
                files.remove(other)
        path = reached.find(out)
        if path is None:
            if any(out.glob(f"{reached.STEM}-*")):
                note(f"{name}, seed {seed}: its checkpoint is damaged; it trains anew")
            files.remove(out)
        return out, os.path.abspath(path) if path is not None else ""

    def keep(self, record: Record, predicted: Mapping[str, Array], phase: str = "") -> None:
        """What is finished by now survives: after a training, or after a `phase`.

        predicted: as the run's state has it.
        """
        self.phases += [phase] if phase else []
        finished = Finished(
            phases=self.phases,
            results=record.results,
            cases=record.cases,
            kept=record.kept,
            explained=record.explained,
            truths=record.truths,
            predicted={label: of.tolist() for label, of in predicted.items()},
            tensors={kept.file: self._digest(kept.file) for kept in record.kept},
        )
        files.write_sealed(self.folder, RECORD, msgspec.json.encode(finished))

    def restore(self, record: Record, pool: Pool, note: Callable[[str], None]) -> dict[str, Array]:
        """Enter what is finished into the record; the classes predicted by label.

        A process that had failed, or was set aside, is so again.
        """
        record.went_on = self.runs
        if (finished := self._finished()) is None:
            if any(self.folder.glob(f"{RECORD}-*")):
                note("the checkpoint is damaged: what it held is measured anew")
            return {}
        self.phases = finished.phases
        record.cases, record.kept = finished.cases, finished.kept
        record.explained, record.truths = finished.explained, finished.truths
        for label, found in finished.results.items():
            own = record.results[label].processes
            record.results[label] = msgspec.structs.replace(found, processes=own)
            for process in found.processes:
                if (key := Key(label, process.dtype)) in pool.workers:
                    if process.status == "failed":
                        pool.fail(key, process.reason or "")
                    elif process.status == "skipped":
                        pool.set_aside(key, process.reason or "")
        return {label: np.array(of) for label, of in finished.predicted.items()}

    def _finished(self) -> Finished | None:
        """What is finished; None where nothing is, or not all is what it was."""
        if (path := files.sealed(self.folder, RECORD)) is None:
            return None
        try:
            found = msgspec.json.decode(files.read_bytes(path, "checkpoint"), type=Finished)
            whole = all(self._digest(name) == want for name, want in found.tensors.items())
        except (OSError, InputError, *files.UNREADABLE):
            return None
        return found if whole else None

    def _digest(self, name: str) -> str:
        """Of a file of the run's folder."""
        return files.digest(self.folder.parent / name)


def leave_out_memory(record: Record) -> None:
    """Of a run in parts nobody knows how much memory a process would have held for all of it."""
    if record.went_on:
        for results in record.results.values():
            for process in results.processes:
                process.peak_rss_bytes = process.peak_device_bytes = None
