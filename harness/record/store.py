"""A run's folder on the disk: made, written whole, read back. Imports no framework."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import msgspec

from harness import files
from harness.errors import HarnessError, InputError
from harness.files import new_name, sync, why, write_atomic
from harness.record.schema import SCHEMA, STEPS, Record, Samples

# A full record is at most 30 MB; what the workers print lies beside it.
NEEDED_BYTES = 50_000_000


def check_folder(results_dir: Path) -> None:
    """InputError where no run can be stored under results_dir; nothing is made or written."""
    nearest = files.nearest_folder(results_dir, "results directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"results directory {results_dir}: {nearest} is not writable")
    free = shutil.disk_usage(nearest).free
    if free < NEEDED_BYTES:
        raise InputError(
            f"results directory {results_dir}: {free // 10**6} MB free, {NEEDED_BYTES // 10**6} MB "
            "needed; free some space or choose another --results-dir"
        )


def new_run_folder(results_dir: Path, kind: str = "runs") -> Path:
    """A fresh folder results_dir/<kind>/.<time>-<random>, which `complete` gives its name.

    InputError where it cannot be made.
    """
    runs = results_dir / kind
    try:
        runs.mkdir(parents=True, exist_ok=True)
        while True:
            folder = runs / f".{new_name()}"
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                sync(runs)
                return folder
    except OSError as error:
        raise InputError(f"results directory {results_dir}: {why(error)}") from None


def complete(record: Record, folder: Path) -> None:
    """`write` a record into its run's fresh folder, and give that its name, `record.run`.

    From then on it is a run that others find. Raises as `write`.
    """
    write(record, folder)
    try:
        folder.rename(folder.with_name(record.run))
        sync(folder.parent)
    except OSError as error:
        raise InputError(f"cannot rename {folder}: {why(error)}") from None


def write(record: Record, folder: Path) -> Path:
    """Store a record as folder/record.json and folder/steps.parquet; the one given is not changed.

    record.json is written last, and it alone makes a record of what is there. InputError where the
    disk is full, the folder cannot be written, or a record is there already.
    """
    from harness.record import samples

    path = folder / "record.json"
    if os.path.lexists(path):
        raise InputError(f"cannot write {path}: a record is stored there")
    stored = samples.strip(record)
    encode(stored)  # what cannot be stored is refused before anything is written
    stored.samples = samples.store(record, folder / STEPS)
    write_atomic(path, encode(stored))
    return path


def read(path: Path) -> Record:
    """The record in a run's folder (or the file itself); InputError unless it is a whole one."""
    from harness.record import samples

    file = path / "record.json" if os.path.isdir(path) else path
    record, said = _described(file)
    samples.load(record, file.parent / said.file)
    return record


def check(folder: Path) -> None:
    """InputError unless a run's folder holds a record, and the very samples that it names.

    Takes a tenth of `read`, which unpacks them.
    """
    from harness.record import samples

    _, said = _described(folder / "record.json")
    with samples.opened(said, folder / said.file):
        pass


def _described(file: Path) -> tuple[Record, Samples]:
    """A record without its samples, and what it says of them."""
    record = decode(files.read_bytes(file, "record"), str(file))
    if record.samples is None:
        raise InputError(f"record {file}: it does not name its samples")
    return record, record.samples


def decode(data: bytes, name: str) -> Record:
    """A record from bytes, its samples not filled in; `name` is what the error calls it."""
    record = files.decode(data, "record", name, Record, SCHEMA)
    if not record.plan.seeds:
        raise InputError(f"record {name}: its plan has no seed")
    strangers = {*record.results, *record.again} - {*record.plan.labels}
    if strangers:
        raise InputError(
            f"record {name}: results of {min(strangers)!r}, which its plan does not have"
        )
    return record


def encode(record: Record) -> bytes:
    """The bytes that `write` stores."""
    try:
        return msgspec.json.encode(record)
    except (TypeError, ValueError) as error:
        raise HarnessError(f"cannot encode the record: {error}") from None
