"""Every timed and every trained step of a record as one table, and that table as a Parquet file.

In memory a record keeps its series as lists (of `Training` and `Round`); on disk they lie in
steps.parquet beside record.json, one row a sample, so that anybody can query them with SQL.
Imports NumPy, and DuckDB inside functions; no framework.

The columns (every whole number is a BIGINT, since a record's are not bounded):

label    VARCHAR  the configuration; of the reference's own trainings: the plan's name of it
arm      BIGINT   0; 1 for the second process of a label that enters timing twice (A against A)
dtype    VARCHAR  of the process: float32 or float64
phase    VARCHAR  training, reference (the float64 reference's own trainings) or round
series   BIGINT   place of the training or round in its list, from 0
seed     BIGINT   of the training; NULL in rounds
session  BIGINT   of the round, from 0; 0 in trainings
round    BIGINT   counts from 0 in every session; NULL in trainings
place    BIGINT   the worker's place in the order of its round, from 0; NULL in trainings
kind     VARCHAR  what the clock was on: step (step and wait), warmup (the same, before steady
                  state), gather (picking a batch's rows), put (host to device, finished), products
                  (one set of a step's matrix products), burst (steps with one wait at the end),
                  drain (copying the parameters to the host)
number   BIGINT   place of the sample in its list, from 0
rows     BIGINT   samples in the batch, or in each of several; NULL for products and drain
steps    BIGINT   steps that the clocked call made: 1; `at_once` for a round's step and warmup; K
                  and 2K for bursts; 0 for drain
ns       BIGINT   nanoseconds of the call; of step and warmup: divided by `steps` already. NULL for
                  a step that was trained and not timed (the reference)
loss     DOUBLE   mean loss of the batch before the step, in nats, NaN and infinities as themselves;
                  NULL for all that is not a training's step

The rows stand in this order and no other: results, `again`, reference; label by label, trainings
before rounds; within each by kind as in KINDS, then by number.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from harness.errors import HarnessError, InputError
from harness.files import atomic, why
from harness.interface import Array
from harness.record.schema import Number, Record, Results, Round, Samples, Training, number

PHASES = ("training", "reference", "round")
KINDS = ("step", "warmup", "gather", "put", "products", "burst", "drain")
TRAINING_NS = {"step": "step_ns", "gather": "gather_ns", "put": "put_ns"}
ROUND_NS = {kind: f"{kind}_ns" for kind in KINDS}
# The lists that leave a training or round on its way to the disk.
TRAINING_LISTS = (*TRAINING_NS.values(), "losses", "rows")
ROUND_LISTS = tuple(ROUND_NS.values())

# In the order of the table: type in Parquet, and whether it may be NULL.
COLUMNS = {
    "label": ("VARCHAR", False),
    "arm": ("BIGINT", False),
    "dtype": ("VARCHAR", False),
    "phase": ("VARCHAR", False),
    "series": ("BIGINT", False),
    "seed": ("BIGINT", True),
    "session": ("BIGINT", False),
    "round": ("BIGINT", True),
    "place": ("BIGINT", True),
    "kind": ("VARCHAR", False),
    "number": ("BIGINT", False),
    "rows": ("BIGINT", True),
    "steps": ("BIGINT", False),
    "ns": ("BIGINT", True),
    "loss": ("DOUBLE", True),
}
# The columns that are the same in all rows of a training or round.
OF_SLOT = ("label", "arm", "dtype", "phase", "series", "seed", "session", "round", "place")

# Equal rows take next to no room in a file, so its size bounds nothing. This many, twenty times
# those of a long run, take some 2 GB to read.
MOST_ROWS = 20_000_000
# What DuckDB may hold of a file at a time: ten times what it takes for a million rows.
MEMORY_LIMIT = "1GB"

# The table in memory, by name of the column. Text stands as places in the lists of `texts`. A
# column that may be NULL is 0 where it is, and has a bool column "has <name>" beside it.
Columns = dict[str, Array]


class Slot(NamedTuple):
    """One training or round, and the columns that say where in the record it stands."""

    owner: Training | Round
    label: str
    arm: int
    dtype: str
    phase: str
    series: int


def slots(record: Record) -> Iterator[Slot]:
    """The trainings and rounds of a record in the table's order."""
    for arm, found in enumerate((record.results, record.again)):
        for label, results in found.items():
            for series, training in enumerate(results.training):
                yield Slot(training, label, arm, training.dtype, "training", series)
            # `decode` refuses a label that the plan does not have.
            known = record.plan.labels.get(label)
            dtype = known.dtype if known is not None else ""
            for series, round_ in enumerate(results.rounds):
                yield Slot(round_, label, arm, dtype, "round", series)
    for series, training in enumerate(record.reference):
        yield Slot(training, record.plan.reference, 0, training.dtype, "reference", series)


def lists(owner: Training | Round) -> dict[str, str]:
    """The lists of times by kind, in the table's order."""
    return TRAINING_NS if isinstance(owner, Training) else ROUND_NS


def texts(record: Record) -> dict[str, list[str]]:
    """What may stand in each column of text."""
    found = list(slots(record))
    return {
        "label": list(dict.fromkeys(slot.label for slot in found)),
        "dtype": list(dict.fromkeys(slot.dtype for slot in found)),
        "phase": list(PHASES),
        "kind": list(KINDS),
    }


def split(record: Record) -> Columns:
    """The table of a record's samples; the record keeps them.

    HarnessError where a series holds what no record may: part of a nanosecond, a loss that is no
    number, a whole number of more than 64 bits.
    """
    code = {
        name: {word: place for place, word in enumerate(known)}
        for name, known in texts(record).items()
    }
    stands: list[tuple[int | None, ...]] = []
    # One entry for each run of rows that differ in nothing but `number` and what was measured.
    slot, kind, length, timed, steps, ns = [], [], [], [], [], []
    trained = []  # the same for trainings: first row, first row that is not its, list of times
    rows = 0
    for owner, label, arm, dtype, phase, series in slots(record):
        stand = (code["label"][label], arm, code["dtype"][dtype], code["phase"][phase], series)
        if isinstance(owner, Training):
            stands.append((*stand, owner.seed, 0, None, None))
        else:
            stands.append((*stand, None, owner.session, owner.round, owner.place))
        for name, field in lists(owner).items():
            times = getattr(owner, field)
            samples = len(times)
            if isinstance(owner, Training):
                if name == "step":
                    samples = max(samples, len(owner.losses), len(owner.rows))
                trained.append((rows, rows + samples, owner, name))
            if samples:
                slot.append(len(stands) - 1)
                kind.append(code["kind"][name])
                length.append(samples)
                timed.append(len(times))
                steps.append(_steps(owner, name))
                ns.append(times)
                rows += samples
    run = np.repeat(np.arange(len(length)), np.array(length, dtype=np.int64))
    start = np.cumsum([0, *length])[:-1]
    columns: Columns = {
        "kind": np.array(kind, dtype=np.int8)[run],
        "number": np.arange(rows) - start[run],
    }
    stands_of = np.array(slot, dtype=np.int64)[run]
    for place, name in enumerate(OF_SLOT):
        values = [stand[place] for stand in stands]
        columns[name] = whole(name, [value or 0 for value in values])[stands_of]
        if COLUMNS[name][1]:
            has = np.array([value is not None for value in values], dtype=bool)
            columns[f"has {name}"] = has[stands_of]
    burst = columns["kind"] == KINDS.index("burst")
    columns["steps"] = whole("steps", steps)[run] << (burst & (columns["number"] % 2 == 1))
    columns["has ns"] = columns["number"] < np.array(timed, dtype=np.int64)[run]
    columns["ns"] = np.zeros(rows, dtype=np.int64)
    columns["ns"][columns["has ns"]] = whole("ns", list(chain.from_iterable(ns)))
    _batches(columns, record.plan.workload.batch_size, trained)
    return columns


def _steps(owner: Training | Round, kind: str) -> int:
    """Steps of a clocked call (for bursts: of the first)."""
    if kind == "drain":
        return 0
    if isinstance(owner, Training):
        return 1
    return {"step": owner.at_once, "warmup": owner.at_once, "burst": owner.burst_steps}.get(kind, 1)


def _batches(
    columns: Columns, batch_size: int, trained: list[tuple[int, int, Training, str]]
) -> None:
    """Fill in the columns rows and loss."""
    of_batch = [KINDS.index(kind) for kind in KINDS if kind not in ("products", "drain")]
    in_round = columns["phase"] == PHASES.index("round")
    columns["has rows"] = in_round & np.isin(columns["kind"], of_batch)
    columns["rows"] = np.where(columns["has rows"], batch_size, 0)
    columns["has loss"] = np.zeros(len(in_round), dtype=bool)
    columns["loss"] = np.zeros(len(in_round), dtype=np.float64)
    for first, end, training, kind in trained:
        sizes = whole("rows", training.rows)[: end - first]
        columns["rows"][first : first + len(sizes)] = sizes
        columns["has rows"][first : first + len(sizes)] = True
        if kind == "step":
            last = first + len(training.losses)
            columns["loss"][first:last] = reals("losses", training.losses)
            columns["has loss"][first:last] = True


def whole(name: str, values: list[int]) -> Array:
    """Whole numbers as int64 (length,); HarnessError where one is not, or does not fit."""
    found = np.array(values) if values else np.zeros(0, dtype=np.int64)
    if found.dtype != np.int64:
        raise HarnessError(f"cannot encode the record: {name} holds what is no whole 64-bit number")
    return found


def reals(name: str, values: list[Number]) -> Array:
    """Numbers as they are stored, as float64 (length,)."""
    try:
        return np.array([float(value) for value in values], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise HarnessError(f"cannot encode the record: {name} holds what is no number") from None


def join(record: Record, columns: Columns, name: str) -> None:
    """Fill the series of a record, which are empty, from their table; the inverse of `split`.

    InputError, which calls the table `name`, unless `split` of the filled record gives the same.
    """
    empty = [slot.owner for slot in slots(record)]
    known = {label: place for place, label in enumerate(texts(record)["label"])}
    # Slots by label, arm and phase: the first of each, and how many there are.
    shape = (len(known), 2, len(PHASES))
    first, count = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for place, found in enumerate(slots(record)):
        at = known[found.label], found.arm, PHASES.index(found.phase)
        first[at] = place - found.series
        count[at] += 1
    where = columns["label"], columns["arm"], columns["phase"]
    series, kind = columns["series"], columns["kind"]
    for found_in, size in zip(where, shape, strict=True):
        _must(name, bool(np.all((found_in >= 0) & (found_in < size))))
    _must(name, bool(np.all((series >= 0) & (series < count[where]))))
    _must(name, bool(np.all((kind >= 0) & (kind < len(KINDS)))))
    run = (first[where] + series) * len(KINDS) + kind
    _must(name, bool(np.all(run[1:] >= run[:-1])))
    runs = len(empty) * len(KINDS)
    ends = np.cumsum(np.bincount(run, minlength=runs)).tolist()
    has = {
        measured: np.bincount(run[columns[f"has {measured}"]], minlength=runs).tolist()
        for measured in ("ns", "rows", "loss")
    }
    ns = columns["ns"].tolist()
    for place, owner in enumerate(empty):
        for kind_name, field in lists(owner).items():
            at_run = place * len(KINDS) + KINDS.index(kind_name)
            begin = ends[at_run - 1] if at_run else 0
            if begin == ends[at_run]:
                continue
            setattr(owner, field, ns[begin : begin + has["ns"][at_run]])
            if isinstance(owner, Training) and kind_name == "step":
                rows = columns["rows"][begin : begin + has["rows"][at_run]]
                losses = columns["loss"][begin : begin + has["loss"][at_run]]
                owner.rows = rows.tolist()
                owner.losses = [v if math.isfinite(v) else number(v) for v in losses.tolist()]
    same = split(record)
    _must(name, all(np.array_equal(columns[c], same[c], equal_nan=c == "loss") for c in same))


def _must(name: str, holds: bool) -> None:
    if not holds:
        raise InputError(f"{name}: its rows are not those of the record beside it")


def strip(record: Record) -> Record:
    """The record without its series; the one given keeps them."""
    no_training: dict[str, Any] = {field: [] for field in TRAINING_LISTS}
    no_round: dict[str, Any] = {field: [] for field in ROUND_LISTS}

    def without(results: Results) -> Results:
        return msgspec.structs.replace(
            results,
            training=[msgspec.structs.replace(t, **no_training) for t in results.training],
            rounds=[msgspec.structs.replace(r, **no_round) for r in results.rounds],
        )

    return msgspec.structs.replace(
        record,
        results={label: without(results) for label, results in record.results.items()},
        again={label: without(results) for label, results in record.again.items()},
        reference=[msgspec.structs.replace(t, **no_training) for t in record.reference],
    )


def store(record: Record, path: Path, only: str | None = None) -> Samples:
    """Write a record's samples to `path`, whole or not at all, and say what was written.

    Raises InputError where the disk is full or the folder cannot be written; and, with nothing
    changed, where the file's SHA-256 would not be `only`, if that is given.
    """
    columns = split(record)
    with atomic(path) as file:
        write_parquet(columns, texts(record), file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if only not in (None, digest):
            raise InputError(f"cannot write {path}: a record with other samples is stored there")
    return Samples(rows=len(columns["number"]), sha256=digest)


def load(record: Record, path: Path) -> None:
    """Fill a record from `path`, the file that its `samples` describes, and forget `samples`.

    InputError unless the file is that one, and its rows are those of this record.
    """
    name, said = f"samples {path}", record.samples
    assert said is not None
    if any(getattr(s.owner, field) for s in slots(record) for field in _emptied(s.owner)):
        raise InputError(f"{name}: the record beside it holds series too")
    if said.rows > MOST_ROWS:
        raise InputError(f"{name}: {said.rows} rows; this harness reads {MOST_ROWS} at most")
    try:
        # A pipe must not be waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{name}: not a file")
            if hashlib.file_digest(file, "sha256").hexdigest() != said.sha256:
                raise InputError(
                    f"{name}: damaged or of another run (not the SHA-256 of the record)"
                )
            columns = read_parquet(file.fileno(), texts(record), said.rows, name)
    except OSError as error:
        raise InputError(f"{name}: {why(error)}") from None
    join(record, columns, name)
    record.samples = None


def _emptied(owner: Training | Round) -> tuple[str, ...]:
    return TRAINING_LISTS if isinstance(owner, Training) else ROUND_LISTS


def connect() -> Any:
    """DuckDB in memory: nothing of it on the disk, and nothing fetched from anywhere."""
    import duckdb

    settings: dict[str, Any] = {
        "threads": 1,
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=settings)


def write_parquet(columns: Columns, words: dict[str, list[str]], descriptor: int) -> None:
    """Write a table to an open, empty file. Raises OSError where the disk is full.

    DuckDB is given the descriptor: a path might hold what it takes for a pattern or an address.
    """
    import duckdb

    def stored(name: str) -> str:
        kind, may_be_null = COLUMNS[name]
        if kind == "VARCHAR":
            return f'(${name}::VARCHAR[])["{name}" + 1]::VARCHAR AS "{name}"'
        # A NaN from NumPy may arrive as NULL.
        value = f"coalesce(\"{name}\", 'NaN'::DOUBLE)" if kind == "DOUBLE" else f'"{name}"::{kind}'
        if may_be_null:
            value = f'CASE WHEN "has {name}" THEN {value} END'
        return f'{value} AS "{name}"'

    # Only names of columns and a number are put into the text of a query.
    query = f"SELECT {', '.join(map(stored, COLUMNS))} FROM samples"  # noqa: S608
    target = f"'/dev/fd/{descriptor}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
    with connect() as connection:
        connection.register("samples", columns)
        try:
            connection.execute(f"COPY ({query}) TO {target}", words)
        except duckdb.Error as error:
            for code in errno.errorcode:
                if os.strerror(code) in str(error):
                    raise OSError(code, os.strerror(code)) from None
            raise HarnessError(f"cannot write the samples: {error}") from None


def narrowest(values: Array) -> Array:
    """Whole numbers in the smallest signed type that holds them: most columns count little."""
    if values.dtype.kind == "i" and values.size:
        for dtype in (np.int8, np.int16, np.int32):
            limits = np.iinfo(dtype)
            if limits.min <= values.min() and values.max() <= limits.max:
                return values.astype(dtype)
    return values


def read_parquet(descriptor: int, words: dict[str, list[str]], rows: int, name: str) -> Columns:
    """The table in an open file of `rows` rows; a word that is not in `words` has the place -1.

    InputError, which calls the file `name`, where it has other columns, types or rows.
    """
    import duckdb

    def wanted(column: str) -> str:
        kind, may_be_null = COLUMNS[column]
        if kind == "VARCHAR":
            return f'coalesce(list_position($words::VARCHAR[], "{column}"), 0) - 1 AS "{column}"'
        # Where there may be no NULL it becomes what `join` refuses.
        if not may_be_null:
            return f'coalesce("{column}", -1) AS "{column}"'
        return f'coalesce("{column}", 0) AS "{column}", "{column}" IS NOT NULL AS "has {column}"'

    source = f"FROM read_parquet('/dev/fd/{descriptor}') LIMIT {rows + 1}"
    columns: Columns = {}
    try:
        with connect() as connection:
            said = connection.execute(f"DESCRIBE SELECT * {source}").fetchall()
            if [line[:2] for line in said] != [(c, kind) for c, (kind, _) in COLUMNS.items()]:
                raise InputError(f"{name}: not a table of samples (other columns)")
            # One at a time: DuckDB holds a whole result once more.
            for column, (kind, _) in COLUMNS.items():
                given = {"words": words[column]} if kind == "VARCHAR" else {}
                found = connection.execute(f"SELECT {wanted(column)} {source}", given).fetchnumpy()
                columns |= {p: narrowest(np.ma.getdata(values)) for p, values in found.items()}
    except (duckdb.Error, RuntimeError, UnicodeError, MemoryError) as error:
        # DuckDB goes on for lines, and may repeat bytes of the file.
        told = (str(error).splitlines() or [type(error).__name__])[0]
        told = "".join(c if c.isprintable() else "?" for c in told)
        raise InputError(f"{name}: cannot be read ({told})") from None
    if any(len(values) != rows for values in columns.values()):
        raise InputError(f"{name}: not the {rows} rows that the record names")
    return columns
