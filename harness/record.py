"""The stored record of one run: measurements, not tensors. Schema, atomic write, strict read.

A record is `record.json` in a folder of its own under `results/runs/`, and beside it its samples,
steps.parquet (see `harness/samples.py`), whose SHA-256 it names. Reading is strict: an unknown
field, a wrong type, a newer schema, a cut-off or a foreign file is an InputError. A number that is
not finite is stored as the string "nan", "inf" or "-inf", never dropped. Imports no framework.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from harness.errors import HarnessError, InputError
from harness.plan import Plan

# 2: the series of trainings and rounds in steps.parquet; in 1 they are lists in record.json.
# 3: confusion matrices, images that are classified differently, names of the classes.
SCHEMA = 4
# A disk, quota or file-size limit that is reached: the user's to mend.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a file system answers that cannot fsync a folder.
NOT_KNOWN = (errno.EBADF, errno.EINVAL, errno.ENOTSUP)
# Where the samples lie, beside record.json.
STEPS: Literal["steps.parquet"] = "steps.parquet"
# How a run may end; anything else is one line on what stopped it.
FINISHED = "finished"
INTERRUPTED = "interrupted"

# A full record is at most 30 MB; what the workers print lies beside it.
NEEDED_BYTES = 50_000_000

NotFinite = Literal["nan", "inf", "-inf"]
Number = float | NotFinite
Count = Annotated[int, msgspec.Meta(ge=0)]
# A century and more; beyond it lies no time, but an overflow.
Nanoseconds = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
Few = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


def number(value: float) -> Number:
    """A float as it is stored: finite as itself, else its name."""
    value = float(value)
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


class Stored(msgspec.Struct, forbid_unknown_fields=True):
    """Base of all that is stored: unknown fields are errors."""


class Worst(Stored, kw_only=True):
    """The element furthest off. `in_rms`: its error in units of the wanted tensor's RMS."""

    index: list[int]
    got: Number
    want: Number
    in_rms: Number


class Pattern(Stored, kw_only=True):
    """What the error of a tensor looks like; sought only where it is coarser than rounding.

    `factor`: the number that takes `want` nearest `got` (for updates: the change), `residual`: the
    distance that is left under it. `elements`, `rows`, `columns`: the share of each (of the last
    axis and of the first) with an error above a tenth of the worst.
    """

    factor: Number
    residual: Number
    elements: float
    rows: float
    columns: float


class Measurement(Stored, kw_only=True):
    """One tensor of one backend against the judge.

    `dtype` is that of the process ("float32", "float64"); `case` names the batch ("step 760",
    "corner", ...); `step` its place in the schedule, None for made batches. `distance` is
    scale-free (see `harness/measure.py` for each rung's); it is None where `problem` says why
    none can be taken (shape, dtype, positions of NaN or infinity). `beside` holds figures that
    are shown and never judged.
    """

    dtype: str
    rung: str
    case: str
    step: int | None
    tensor: str
    shape: list[int]
    digest: str
    distance: Number | None
    problem: str | None = None
    worst: Worst | None = None
    want_norm: Number
    got_norm: Number
    beside: dict[str, Number] = {}
    pattern: Pattern | None = None


class Case(Stored, kw_only=True):
    """One teacher-forced batch: how many samples it has and how many screening replaced."""

    case: str
    step: int | None
    rows: int
    replaced: int


class Training(Stored, kw_only=True):
    """One free-running training. `losses`: mean loss of every step; `step_ns`: step + wait.

    `whole`: the plan's full schedule, not only the part that lockstep needs. `epoch_ns`: wall time
    of each epoch's loop, gather, put and step; `test_accuracy`: after each. `gather_ns`: picking a
    step's rows; `put_ns`: host to device. Steps that one call of `run` made share its time evenly.
    `confusion`: test images after the last epoch, a row a true class, a column a predicted one
    (logits with NaN are counted nowhere); empty where the test set was not looked at.
    """

    dtype: str
    seed: int
    whole: bool
    rows: list[int]
    losses: list[Number]
    epoch_losses: list[Number]
    test_accuracy: list[Number]
    step_ns: list[Nanoseconds]
    gather_ns: list[Nanoseconds] = []
    put_ns: list[Nanoseconds] = []
    epoch_ns: list[Nanoseconds]
    eval_ns: list[Nanoseconds]
    final_norms: dict[str, Number]
    confusion: list[list[Few]] = []


class Repeat(Stored, kw_only=True):
    """A against A: the same process trained twice from the same numbers for some steps.

    `distances`: of the parameters after the second from those after the first; `first_step`: the
    first whose losses differ, None where they are all the same. All zero: it reproduces itself.
    """

    dtype: str
    steps: int
    first_step: int | None
    distances: dict[str, Number]

    @property
    def identical(self) -> bool:
        """Whether the two runs are the same, bit for bit."""
        return self.first_step is None and all(d == 0 for d in self.distances.values())


class Churn(Stored, kw_only=True):
    """Test predictions after the last step against the reference's, one seed.

    `differ`: samples with another class; `only_here`, `only_reference`: right on one side only.
    """

    seed: int
    samples: Few
    differ: Few
    only_here: Few
    only_reference: Few


class Differing(Stored, kw_only=True):
    """A test image whose class the labels do not agree on after training, the first seed's.

    `true`, `reference` and `predicted` (by label) are classes, -1 for logits with NaN. `pixels`:
    the image, 8-bit grey, row by row, in base64; `shape`: its rows and columns.
    """

    index: Count
    true: int
    reference: int
    predicted: dict[str, int]
    shape: list[Few]
    pixels: str


class Replica(Stored, kw_only=True):
    """One replica of the float32 reference: its distance from the float64 one after some steps.

    `distance`: over all parameters together; `tensors`: of each.
    """

    regime: Literal["start", "late"]
    replica: int
    after: int
    distance: Number
    tensors: dict[str, Number]


class Kept(Stored, kw_only=True):
    """Tensors in `file` beside the record, so that a divergence can be reproduced."""

    label: str
    dtype: str
    rung: str
    case: str
    file: str


class Round(Stored, kw_only=True):
    """One worker's block in one round: nanoseconds of each step, gather, put and set of products.

    Rounds count from 0 in every session. `warmup_ns`: the block's first steps, kept and left out of
    every figure. `at_once`: how many steps one call makes; each entry of `step_ns` and `warmup_ns`
    is the time of a call divided by it. `burst_ns`: K steps with one wait at the end, then 2K, K
    being `burst_steps` (empty in rounds without). `drain_ns`: copying the parameters to the host
    right after the last wait, and once more. `cpu_ns`: processor time of the timed steps, of all
    threads. `digest`: of the parameters after the last step, `replayed`: after the same steps done
    again without a clock; both None in rounds that were not replayed.
    """

    session: Count = 0
    round: int
    place: int
    at_once: Few = 1
    step_ns: list[Nanoseconds]
    gather_ns: list[Nanoseconds]
    put_ns: list[Nanoseconds]
    warmup_ns: list[Nanoseconds]
    products_ns: list[Nanoseconds]
    burst_steps: Few = 0
    burst_ns: list[Nanoseconds] = []
    drain_ns: list[Nanoseconds] = []
    cpu_ns: Nanoseconds | None = None
    digest: str | None = None
    replayed: str | None = None


class Special(Stored, kw_only=True):
    """What an operator gave at one special point: the elements of its value and derivatives.

    `point` names the arguments as the catalogue writes them. Zeros keep their sign.
    """

    point: str
    value: list[Number]
    derivative: list[Number]


class Curve(Stored, kw_only=True):
    """An elementwise operator on an even grid from start to stop, in few digits: to be drawn."""

    start: float
    stop: float
    value: list[Number]
    derivative: list[Number]


class Operator(Stored, kw_only=True):
    """One single operator in a process of `dtype`; "relu" is the framework's, "relu/scratch" not.

    Errors: the largest on ordinary points, in units of the RMS of the truth (float64). `absent`:
    why the framework does not have it; `problem`: why its answer could not be measured.
    """

    name: str
    dtype: str
    absent: str | None = None
    problem: str | None = None
    value_error: Number | None = None
    derivative_error: Number | None = None
    specials: list[Special] = []
    curve: Curve | None = None


class LeftBehind(Stored, kw_only=True):
    """A process that a worker had started and that outlived it; the harness ended it.

    `cpu_ns`: its processor time, and that of its children that have ended.
    """

    command: str
    cpu_ns: Nanoseconds


class Process(Stored, kw_only=True):
    """One worker process: what it said of itself and how it ended.

    `left_behind`: processes that it had started and that outlived it.
    `session`: 0 for those that numbers were measured in, from 1 on those for timing only.
    `peak_device_bytes`: None where the device's memory is the host's.
    """

    label: str
    dtype: str
    session: Count = 0
    status: Literal["ok", "failed", "skipped"]
    reason: str | None = None
    facts: dict[str, str] = {}
    import_ns: Nanoseconds | None = None
    build_ns: Nanoseconds | None = None
    first_step_ns: dict[str, Nanoseconds] = {}
    peak_rss_bytes: Bytes | None = None
    peak_device_bytes: Bytes | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    stderr_tail: str = ""
    left_behind: list[LeftBehind] = []


class Results(Stored, kw_only=True):
    """All that was measured of one label."""

    processes: list[Process] = []
    measurements: list[Measurement] = []
    training: list[Training] = []
    repeats: list[Repeat] = []
    churn: list[Churn] = []
    operators: list[Operator] = []
    rounds: list[Round] = []


class Roof(Stored, kw_only=True):
    """What one process reached at its best, with all its threads: the roof of a roofline.

    `flop_per_s`: in one large matrix product of `size` x `size`; `copy_bytes_per_s`: read and
    written while copying arrays far larger than the caches (None where only the product was taken).
    """

    label: str
    dtype: str
    size: int
    flop_per_s: float
    copy_bytes_per_s: float | None = None


class KnownAnswer(Stored, kw_only=True):
    """One pinned answer of the shared code."""

    name: str
    want: str
    got: str


class DatasetFacts(Stored, kw_only=True):
    """The data of the run; `source` says where it was found, `class_names` what the labels mean."""

    name: str
    synthetic: bool
    sha256: str
    train: int
    test: int
    source: str
    class_names: list[str] = []


class Samples(Stored, kw_only=True):
    """The file beside the record that holds its series, one row a sample; see harness/samples.py.

    `rows`: how many; `sha256`: of the file's bytes, in hexadecimal.
    """

    file: Literal["steps.parquet"] = STEPS
    rows: Count
    sha256: str


class Record(Stored, kw_only=True):
    """One run, whole. `ended`: "finished", "interrupted", or one line on what stopped it.

    `cases` and `lockstep_steps` (steps after which lockstep is compared) say what every label owes.
    `reference`: the float64 reference's own trainings; `envelope`: replicas of it in float32.
    `again`: the second process of a label that enters timing twice (A against A). `roofs`: what
    processes reach in a large product and in a copy. `differing`: some test images that are
    classified differently, those that most labels differ on first. `foreign`: what others did to
    the run's folder (undone) and to other runs while this one lived, a line each. `samples`: where
    the series of trainings and rounds are while it is stored; None in memory, where they are filled
    in.
    """

    schema: int = SCHEMA
    run: str
    started: str
    seconds: float
    ended: str
    harness_version: str
    plan: Plan
    machine: dict[str, str]
    dataset: DatasetFacts | None
    known_answers: list[KnownAnswer] = []
    cases: list[Case] = []
    lockstep_steps: list[int] = []
    reference: list[Training] = []
    envelope: list[Replica] = []
    kept: list[Kept] = []
    results: dict[str, Results]
    again: dict[str, Results] = {}
    roofs: list[Roof] = []
    differing: list[Differing] = []
    foreign: list[str] = []
    samples: Samples | None = None


def check_folder(results_dir: Path) -> None:
    """InputError where no run can be stored under results_dir; nothing is made or written."""
    nearest = results_dir.absolute()
    while not os.path.exists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"results directory {results_dir}: {nearest} is not a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"results directory {results_dir}: {nearest} is not writable")
    free = shutil.disk_usage(nearest).free
    if free < NEEDED_BYTES:
        raise InputError(
            f"results directory {results_dir}: {free // 10**6} MB free, {NEEDED_BYTES // 10**6} MB "
            "needed; free some space or choose another --results-dir"
        )


def new_run_folder(results_dir: Path) -> Path:
    """A fresh folder results_dir/runs/<time>-<random>; InputError where it cannot be made."""
    runs = results_dir / "runs"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        while True:
            folder = runs / new_name()
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                sync(runs)
                return folder
    except OSError as error:
        raise InputError(f"results directory {results_dir}: {why(error)}") from None


def new_name() -> str:
    """What nothing else is called: the time, UTC, and a few random digits."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def why(error: OSError) -> str:
    """The operating system's reason, in a few words."""
    return os.strerror(error.errno) if error.errno else str(error)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BufferedRandom]:
    """An open file that is there as `path`, whole, once the block ends, and still after a crash.

    A link there is replaced, not followed. If the block raises, nothing is left of it. Raises
    InputError where the disk is full, the folder cannot be written, or a device or pipe is there.
    """
    if _is_special(path):
        raise InputError(f"cannot write {path}: not a regular file")
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
        sync(path.parent)
    except OSError as error:
        hint = (
            "; free some space or choose another --results-dir" if error.errno in NO_SPACE else ""
        )
        raise InputError(f"cannot write {path}: {why(error)}{hint}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _is_special(path: Path) -> bool:
    """Whether a file that takes this path's place would take away a device, pipe or socket.

    All of /dev is such: /dev/stdout is a link to whatever file stdout is.
    """
    if os.path.realpath(path.parent) == "/dev":
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def sync(path: Path) -> None:
    """What a file holds, or the names in a folder, are on the disk: a power cut takes none of it.

    Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems do not know the call for a folder, and need none.
        if error.errno not in NOT_KNOWN or not path.is_dir():
            raise
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all; InputError where it cannot be."""
    with atomic(path) as file:
        file.write(data)


def write(record: Record, folder: Path) -> Path:
    """Store a record as folder/record.json and folder/steps.parquet; the one given is not changed.

    record.json is written last, and it alone makes a record of what is there. One that is there
    already is replaced only by one with the same samples: two files cannot be replaced at once, and
    a cut in between would leave neither. InputError for another.
    """
    from harness import samples

    path = folder / "record.json"
    stored = msgspec.structs.replace(samples.strip(record), schema=SCHEMA)
    encode(stored)  # what cannot be stored is refused before anything is written
    table = folder / STEPS
    try:
        stored.samples = samples.store(record, table, only=_samples_of(path))
        write_atomic(path, encode(stored))
    except BaseException:
        if not os.path.lexists(path):
            with contextlib.suppress(OSError):
                os.unlink(table)
        raise
    return path


def _samples_of(path: Path) -> str | None:
    """The SHA-256 of the samples that a stored record names; None without such a record."""
    try:
        named = decode(path.read_bytes(), str(path)).samples
    except (OSError, InputError):
        return None
    return named.sha256 if named is not None else None


def read(path: Path) -> Record:
    """The record in a run's folder (or the file itself); InputError unless it is a whole one."""
    file = path / "record.json" if path.is_dir() else path
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # a pipe would be waited for
            raise InputError(f"record {file}: not a file")
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"record {file}: {why(error)}") from None
    record = decode(data, str(file))
    if record.samples is not None:
        from harness import samples

        samples.load(record, file.parent / record.samples.file)
    elif record.schema > 1:
        raise InputError(f"record {file}: it does not name its samples")
    record.schema = SCHEMA
    return record


class _Head(msgspec.Struct):
    schema: int


def decode(data: bytes, name: str) -> Record:
    """A record from bytes; `name` is what the error calls it."""
    try:
        head = msgspec.json.decode(data, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"record {name}: not a whole record ({error})") from None
    if head.schema > SCHEMA:
        raise InputError(
            f"record {name}: schema {head.schema} is newer than this harness reads ({SCHEMA}); "
            "upgrade the harness"
        )
    if head.schema < 1:
        raise InputError(f"record {name}: schema {head.schema} does not exist")
    try:
        record = msgspec.json.decode(data, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"record {name}: not a valid record ({error})") from None
    if not record.plan.seeds:
        raise InputError(f"record {name}: its plan has no seed")
    held = (*record.results, *record.again)
    strangers = [label for label in held if label not in record.plan.labels]
    if strangers:
        raise InputError(
            f"record {name}: results of {strangers[0]!r}, which its plan does not have"
        )
    return record


def encode(record: Record) -> bytes:
    """The bytes that `write` stores."""
    try:
        return msgspec.json.encode(record)
    except (TypeError, ValueError) as error:
        raise HarnessError(f"cannot encode the record: {error}") from None
