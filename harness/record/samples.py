"""The series of a record, every timed and every trained step, as one Parquet file beside it.

In memory a record keeps its series as lists (of `Training` and `Round`); on disk they lie in
steps.parquet beside record.json, one row a training or round, so that anybody can query them with
SQL: `SELECT label, unnest(step_ns) FROM 'steps.parquet' WHERE phase = 'round'`. Imports msgspec,
and DuckDB inside functions; no framework.

The columns (every whole number is a BIGINT, since a record's are not bounded):

label        VARCHAR   the configuration; of the reference's own trainings: the plan's name of it
arm          BIGINT    0; 1 for the second process of a label that enters timing twice (A against A)
dtype        VARCHAR   of the process: float32 or float64
phase        VARCHAR   training, reference (the float64 reference's own trainings) or round
series       BIGINT    place of the training or round in its list, from 0
seed         BIGINT    of the training; NULL in rounds
session      BIGINT    of the round, from 0; 0 in trainings
round        BIGINT    counts from 0 in every session; NULL in trainings
place        BIGINT    the worker's place in the order of its round, from 0; NULL in trainings
batch        BIGINT    samples in a full batch
at_once      BIGINT    steps that one timed call makes: `step_ns` and `warmup_ns` are of one of them
burst_steps  BIGINT    K of the bursts; 0 where there are none
rows         BIGINT[]  samples in each batch of a training; empty in rounds, whose batches are full
losses       DOUBLE[]  mean loss of each batch before its step, in nats, NaN and infinities as
                       themselves; of trainings
step_ns      BIGINT[]  nanoseconds of a step and its wait; empty in the reference, not timed
warmup_ns    BIGINT[]  the same, before steady state
gather_ns    BIGINT[]  picking a batch's rows
put_ns       BIGINT[]  host to device, finished
products_ns  BIGINT[]  one set of a step's matrix products
burst_ns     BIGINT[]  K steps with one wait at the end, then 2K, and so on
drain_ns     BIGINT[]  copying the parameters to the host

The rows stand in this order and no other: results, `again`, reference; label by label, trainings
before rounds.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any

import msgspec

from harness.errors import HarnessError, InputError
from harness.files import atomic, open_plain, why
from harness.record.schema import Number, Record, Results, Round, Samples, Training, number
from harness.text import clean

KINDS = ("step", "warmup", "gather", "put", "products", "burst", "drain")
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
# The lists that leave a training or round on its way to the disk, by column.
LISTS: dict[str, Any] = {"rows": list[Whole], "losses": list[Number]}
LISTS |= {f"{kind}_ns": list[Whole] for kind in KINDS}
TRAINING_LISTS = ("rows", "losses", "step_ns", "gather_ns", "put_ns")
ROUND_LISTS = tuple(f"{kind}_ns" for kind in KINDS)
# What else a row has: which training or round it is of.
TEXTS = ("label", "dtype", "phase")
PLACES = (
    *("label", "arm", "dtype", "phase", "series", "seed", "session", "round", "place"),
    *("batch", "at_once", "burst_steps"),
)
# In the order of the table: the type in Parquet.
COLUMNS = {name: "VARCHAR" if name in TEXTS else "BIGINT" for name in PLACES}
COLUMNS |= {name: "DOUBLE[]" if name == "losses" else "BIGINT[]" for name in LISTS}

# Equal samples take next to no room in a file, so its size bounds nothing. This many, twenty times
# those of a long run, take some 2 GB to read.
MOST_NUMBERS = 20_000_000
# What DuckDB may hold of a file at a time: ten times what it takes for a million samples.
MEMORY_LIMIT = "1GB"

Row = dict[str, Any]


def lists_of(owner: Training | Round) -> tuple[str, ...]:
    """The fields of a training or round that lie in the table."""
    return TRAINING_LISTS if isinstance(owner, Training) else ROUND_LISTS


def owners(record: Record) -> Iterator[tuple[Training | Round, Row]]:
    """The trainings and rounds of a record in the table's order, each with its place there."""
    batch = record.plan.workload.batch_size
    of_training = {"session": 0, "round": None, "place": None, "batch": batch}
    of_training |= {"at_once": 1, "burst_steps": 0}

    def trainings(label: str, arm: int, phase: str, held: list[Training]) -> Iterator[Any]:
        for series, training in enumerate(held):
            row = {"label": label, "arm": arm, "dtype": training.dtype, "phase": phase}
            yield training, row | {"series": series, "seed": training.seed} | of_training

    for arm, labels in enumerate((record.results, record.again)):
        for label, results in labels.items():
            yield from trainings(label, arm, "training", results.training)
            dtype = record.plan.labels[label].dtype
            for series, each in enumerate(results.rounds):
                row = {"label": label, "arm": arm, "dtype": dtype, "phase": "round"}
                row |= {"series": series, "seed": None, "session": each.session}
                row |= {"round": each.round, "place": each.place, "batch": batch}
                yield each, row | {"at_once": each.at_once, "burst_steps": each.burst_steps}
    yield from trainings(record.plan.reference, 0, "reference", record.reference)


def table(record: Record) -> list[Row]:
    """The rows of a record's table; the record keeps its series.

    HarnessError where a series holds what no record may: part of a nanosecond, a loss that is no
    number, a whole number of more than 64 bits.
    """
    rows = []
    for owner, place in owners(record):
        try:
            row = place | {
                name: msgspec.convert(getattr(owner, name, []), kind)
                for name, kind in LISTS.items()
            }
            msgspec.convert([place[name] or 0 for name in PLACES if name not in TEXTS], list[Whole])
        except msgspec.ValidationError as error:
            raise HarnessError(f"cannot encode the record: {place['label']}: {error}") from None
        row["losses"] = [float(value) for value in row["losses"]]
        rows.append(row)
    return rows


def count(rows: list[Row]) -> int:
    """How many numbers the lists of some rows hold."""
    return sum(len(row[name] or ()) for row in rows for name in LISTS)


def strip(record: Record) -> Record:
    """The record without its series; the one given keeps them."""

    def empty(owner: Any) -> Any:
        return msgspec.structs.replace(owner, **{field: [] for field in lists_of(owner)})

    def without(held: dict[str, Results]) -> dict[str, Results]:
        return {
            label: msgspec.structs.replace(
                r, training=[*map(empty, r.training)], rounds=[*map(empty, r.rounds)]
            )
            for label, r in held.items()
        }

    return msgspec.structs.replace(
        record,
        results=without(record.results),
        again=without(record.again),
        reference=[*map(empty, record.reference)],
    )


def store(record: Record, path: Path) -> Samples:
    """Write a record's samples to `path`, whole or not at all, and say what was written.

    Raises InputError where the disk is full or the folder cannot be written.
    """
    rows = table(record)
    with atomic(path) as file:
        write_parquet(rows, file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Samples(rows=len(rows), numbers=count(rows), sha256=digest)


def load(record: Record, path: Path) -> None:
    """Fill a record from `path`, the file that its `samples` describes, and forget `samples`.

    InputError unless the file is that one, and its rows are those of this record.
    """
    name, said = f"samples {path}", record.samples
    assert said is not None
    places = [*owners(record)]
    if any(getattr(owner, field) for owner, _ in places for field in lists_of(owner)):
        raise InputError(f"{name}: the record beside it holds series too")
    if said.numbers > MOST_NUMBERS:
        raise InputError(
            f"{name}: {said.numbers} numbers; this harness reads {MOST_NUMBERS} at most"
        )
    with opened(said, path) as file:
        rows = read_parquet(file.fileno(), said, name)
    if len(rows) != len(places) or not all(map(_fits, places, rows)):
        raise InputError(f"{name}: its rows are not those of the record beside it")
    for (owner, _), row in zip(places, rows, strict=True):
        for field in lists_of(owner):
            setattr(owner, field, row[field])
        if isinstance(owner, Training):
            owner.losses = [v if math.isfinite(v) else number(v) for v in row["losses"]]
    record.samples = None


@contextmanager
def opened(said: Samples, path: Path) -> Iterator[BufferedReader]:
    """The file that a record's `samples` describes, open; InputError unless `path` is that one."""
    name = f"samples {path}"
    try:
        with open_plain(path) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != said.sha256:
                raise InputError(
                    f"{name}: damaged or of another run (not the SHA-256 of the record)"
                )
            yield file
    except OSError as error:
        raise InputError(f"{name}: {why(error)}") from None


def _fits(place: tuple[Training | Round, Row], row: Row) -> bool:
    """Whether a stored row is of this training or round, and has its lists and no other."""
    owner, expected = place
    own = lists_of(owner)
    return all(row[name] == value for name, value in expected.items()) and all(
        row[name] is not None and None not in row[name] if name in own else row[name] == []
        for name in LISTS
    )


def connect(**settings: Any) -> Any:
    """DuckDB in memory: nothing of it on the disk, and nothing fetched from anywhere."""
    import duckdb

    alone: dict[str, Any] = {
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=alone | settings)


def write_parquet(rows: list[Row], descriptor: int) -> None:
    """Write a table to an open, empty file. Raises OSError where the disk is full.

    DuckDB is given the descriptor: a path might hold what it takes for a pattern or an address.
    """
    import duckdb

    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    query = f"SELECT unnest($rows::STRUCT({columns})[], max_depth := 2)"
    target = f"'/dev/fd/{descriptor}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
    with connect(threads=1) as connection:
        try:
            connection.execute(f"COPY ({query}) TO {target}", {"rows": rows})
        except duckdb.Error as error:
            for code in errno.errorcode:
                if os.strerror(code) in str(error):
                    raise OSError(code, os.strerror(code)) from None
            raise HarnessError(f"cannot write the samples: {error}") from None


def read_parquet(descriptor: int, said: Samples, name: str) -> list[Row]:
    """The table in an open file, as many rows and numbers as `said` says.

    InputError, which calls the file `name`, where it has other columns, types, rows or numbers.
    """
    import duckdb

    file = f"('/dev/fd/{descriptor}')"
    other = InputError(
        f"{name}: not the {said.rows} rows of {said.numbers} numbers that the record names"
    )
    try:
        with connect(threads=1) as connection:
            described = connection.execute(f"DESCRIBE FROM read_parquet{file}").fetchall()
            if [line[:2] for line in described] != [*COLUMNS.items()]:
                raise InputError(f"{name}: not a table of samples (other columns)")
            # Asked of the file's index, so that no endless list is unpacked to be counted; an
            # empty list counts there as one.
            counted = f"FROM parquet_metadata{file} WHERE contains(path_in_schema, ',')"
            counted = f"SELECT coalesce(sum(num_values), 0) {counted}"
            (values,) = connection.execute(counted).fetchone()
            if values > said.numbers + said.rows * len(LISTS):
                raise other
            rows = connection.execute(f"FROM read_parquet{file} LIMIT {said.rows + 1}").fetchall()
    except (duckdb.Error, RuntimeError, UnicodeError, MemoryError) as error:
        # DuckDB goes on for lines, and may repeat bytes of the file.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{name}: cannot be read ({clean(reason)})") from None
    table = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    if len(table) != said.rows or count(table) != said.numbers:
        raise other
    return table
