"""The stored runs as tables that SQL can be asked of: DuckDB in memory, over the files, read-only.

Each table has a column `run`, the name of the run's folder (`id` in `runs`):

runs      one row a run: when, where, what was planned, the verdict (NULL: not judged)
labels    run x label: status, configuration, times, memory, last loss and accuracy
rungs     run x label x rung: verdict, value, limit, share
versions  run x label x package
training  run x label x seed x epoch
steps     every sample of every steps.parquet, read when it is asked for (see `samples.py`)

TABLES says what each column is (`harness query --schema` prints it). NaN and infinities are
themselves. Only what a query names is filled. Imports NumPy; DuckDB inside functions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from harness.errors import InputError
from harness.record import samples
from harness.record.schema import STEPS
from harness.results.store import EARLIEST, Store, is_file, some
from harness.verdict.document import Document, Entry

Type = Literal["VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMP"]

# Table -> column -> type and what it is. Durations are nanoseconds.
TABLES: dict[str, dict[str, tuple[Type, str]]] = {
    "runs": {
        "id": ("VARCHAR", "name of the run's folder"),
        "folder": ("VARCHAR", "its path"),
        "started": ("TIMESTAMP", "UTC"),
        "seconds": ("DOUBLE", "how long it took"),
        "ended": ("VARCHAR", "finished, interrupted, or what stopped it"),
        "verdict": ("VARCHAR", "agree, disagree, inconclusive, failed; NULL: not judged"),
        "summary": ("VARCHAR", "the verdict in a sentence"),
        "profile": ("VARCHAR", "smoke, default, full"),
        "workload": ("VARCHAR", "what was trained"),
        "dataset": ("VARCHAR", "name of the data set"),
        "synthetic": ("BOOLEAN", "whether the data were made, not the real ones"),
        "planted": ("BOOLEAN", "whether a fault was planted"),
        "machine": ("VARCHAR", "name of the machine, from its stable facts"),
        "processor": ("VARCHAR", "the processor's name"),
        "threads": ("BIGINT", "of each backend"),
        "harness_version": ("VARCHAR", "that measured it"),
        "reference": ("VARCHAR", "what it was judged against"),
        "other_limits": ("VARCHAR", "the file of limits it was judged under, if any"),
    },
    "labels": {
        "run": ("VARCHAR", "runs.id"),
        "label": ("VARCHAR", "name of the configuration in its run"),
        "status": ("VARCHAR", "ok, failed, skipped"),
        "reason": ("VARCHAR", "why it failed or was skipped"),
        "agrees": ("BOOLEAN", "whether it computes the same, up to lockstep"),
        "backend": ("VARCHAR", "torch, jax, tensorflow, numpy, ..."),
        "device": ("VARCHAR", "cpu, cuda"),
        "dtype": ("VARCHAR", "float32, float64"),
        "variant": ("VARCHAR", "way of executing"),
        "precision": ("VARCHAR", "strict, tf32, bfloat16"),
        "python": ("VARCHAR", "version of the interpreter"),
        "void": ("BOOLEAN", "whether its times cannot be what they are said to be"),
        "step_ns": ("BIGINT", "a step: geometric mean of the sessions' medians"),
        "step_low_ns": ("BIGINT", "its 95 % interval"),
        "step_high_ns": ("BIGINT", "its 95 % interval"),
        "throughput_ns": ("BIGINT", "a step of many with one wait"),
        "gather_ns": ("BIGINT", "picking a batch's rows, median"),
        "put_ns": ("BIGINT", "host to device, median"),
        "first_step_ns": ("BIGINT", "the first full batch's"),
        "compile_ns": ("BIGINT", "the first step less a steady one"),
        "epoch_ns": ("BIGINT", "median"),
        "eval_ns": ("BIGINT", "evaluation on the test set, median"),
        "floor_ns": ("BIGINT", "NumPy's matrix products of a step in the same rounds"),
        "floor_ratio": ("DOUBLE", "step over that floor; NULL off the CPU"),
        "floor_low": ("DOUBLE", "its 95 % interval; NULL below five sessions"),
        "floor_high": ("DOUBLE", "its 95 % interval"),
        "cores": ("DOUBLE", "processor time over wall time of the steps"),
        "timed_steps": ("BIGINT", "how many steps that rests on"),
        "sessions": ("BIGINT", "how many times in fresh processes"),
        "indicative": ("BOOLEAN", "too few sessions for a claim"),
        "peak_rss_bytes": ("BIGINT", "memory of the process"),
        "peak_device_bytes": ("BIGINT", "memory of the device; NULL where that is the host's"),
        "reproducible": ("BOOLEAN", "trains twice bit for bit; NULL: not measured"),
        "seeds": ("BIGINT", "trainings"),
        "train_loss": ("DOUBLE", "of the last epoch, mean over seeds, nats"),
        "test_accuracy": ("DOUBLE", "after the last epoch, mean over seeds, 0 to 1"),
    },
    "rungs": {
        "run": ("VARCHAR", "runs.id"),
        "label": ("VARCHAR", "labels.label"),
        "rung": ("VARCHAR", "inputs, forward, loss, ..., timing"),
        "verdict": ("VARCHAR", "agree, disagree, inconclusive, not-possible"),
        "value": ("DOUBLE", "the measurement nearest its limit"),
        "limit_value": ("DOUBLE", "that limit"),
        "share": ("DOUBLE", "value over limit: above 1 is outside; 0 of a limit 0 that holds"),
        "measured": ("BIGINT", "measurements"),
        "reason": ("VARCHAR", "in a sentence"),
        "hint": ("VARCHAR", "what a disagreement looks like"),
        "expected": ("VARCHAR", "why it was declared to disagree"),
    },
    "versions": {
        "run": ("VARCHAR", "runs.id"),
        "label": ("VARCHAR", "labels.label"),
        "package": ("VARCHAR", "name"),
        "version": ("VARCHAR", "of the package in that process"),
    },
    "training": {
        "run": ("VARCHAR", "runs.id"),
        "label": ("VARCHAR", "labels.label"),
        "seed": ("BIGINT", "of initialisation and order"),
        "epoch": ("BIGINT", "from 1"),
        "train_loss": ("DOUBLE", "mean over the epoch's samples, nats"),
        "test_accuracy": ("DOUBLE", "after the epoch, 0 to 1"),
    },
}
# What a query may name besides `runs` and the like: nothing that reads, writes or runs SQL itself.
TABLE_FUNCTIONS = frozenset(
    ("generate_series", "json_each", "json_tree", "range", "repeat", "unnest")
)
QUERY_NODES = frozenset(("CTE_NODE", "RECURSIVE_CTE_NODE", "SELECT_NODE", "SET_OPERATION_NODE"))
# The columns of steps.parquet as `samples.py` describes them, in a few words.
STEPS_TOLD = {
    "run": "runs.id",
    "label": "labels.label; of the reference's own trainings: runs.reference",
    "arm": "0; 1 for the second process of a label timed twice",
    "dtype": "of the process",
    "phase": "training, reference or round",
    "series": "place of the training or round in its list, from 0",
    "seed": "of the training",
    "session": "of the round, from 0",
    "round": "from 0 in every session",
    "place": "in the order of its round, from 0",
    "kind": "step, warmup, gather, put, products, burst, drain",
    "number": "place of the sample in its list, from 0",
    "rows": "samples in the batch",
    "steps": "steps that the clocked call made",
    "ns": "of the call; of step and warmup: a step",
    "loss": "mean loss of the batch before the step, nats",
}
STEPS_COLUMNS = {"run": "VARCHAR"} | {name: kind for name, (kind, _) in samples.COLUMNS.items()}

Row = tuple[Any, ...]


def _rows(store: Store, table: str) -> Iterator[Row]:
    """A table's rows, in the order of its columns."""
    if table == "runs":
        for run in store.runs:
            yield (run.id, run.folder, run.started, *_of_run(run.judged))
        return
    for run in store.runs:
        for label, entry in run.judged.backends.items() if run.judged is not None else ():
            if table == "labels":
                yield (run.id, label, *_of_label(entry))
            elif table == "versions":
                for package, version in entry.versions.items():
                    yield run.id, label, package, version
            elif table == "training":
                for row in _of_training(entry):
                    yield run.id, label, *row
            else:
                for name, r in entry.rungs.items():
                    held = r.verdict, r.value, r.limit, r.share, r.measured, r.sentence
                    yield run.id, label, name, *held, r.hint, r.expected


def _of_run(judged: Document | None) -> Row:
    if judged is None:
        return (None,) * (len(TABLES["runs"]) - 3)
    j = judged
    return (
        *(j.seconds, j.ended, j.verdict, j.summary, j.profile, j.workload),
        *(j.dataset.name, j.dataset.synthetic, j.planted, j.machine, j.processor, j.threads),
        *(j.harness_version, j.reference, j.other_limits),
    )


def _of_label(e: Entry) -> Row:
    t = e.step_time
    low, high = t.ci95_ns if t is not None and t.ci95_ns else (None, None)
    floor_low, floor_high = t.floor_ci95 if t is not None and t.floor_ci95 else (None, None)
    times: Row = (None,) * 18
    if t is not None:
        times = (
            *(t.median_ns, low, high, t.throughput_ns, t.gather_median_ns, t.put_median_ns),
            *(t.first_step_ns, t.compile_ns, t.epoch_ns, t.eval_ns, t.gemm_floor_ns),
            *(t.floor_ratio, floor_low, floor_high, t.cores, t.steps, t.sessions, t.indicative),
        )
    return (
        *(e.status, e.reason, e.agrees, e.backend, e.device, e.dtype, e.variant, e.precision),
        *(e.python, e.void, *times, e.peak_rss_bytes, e.peak_device_bytes, e.reproducible),
        *(len(e.train_loss), e.last_loss, e.last_accuracy),
    )


def _of_training(entry: Entry) -> Iterator[Row]:
    for seed, losses in entry.train_loss.items():
        accuracy = entry.test_accuracy.get(seed, [])
        number = int(seed) if re.fullmatch(r"-?\d{1,18}", seed, re.ASCII) else None
        for epoch in range(max(len(losses), len(accuracy))):
            yield (
                number,
                epoch + 1,
                losses[epoch] if epoch < len(losses) else None,
                accuracy[epoch] if epoch < len(accuracy) else None,
            )


class Answer(NamedTuple):
    """What a query gives: names of the columns, and rows as they are fetched, in lists.

    `notes`: what a reader must know of what is not in it, a line each.
    """

    columns: list[str]
    chunks: Iterator[list[Row]]
    notes: list[str]


def ask(store: Store, sql: str) -> Answer:
    """The answer of one SELECT over the tables of a store.

    Reading is all that the statement can do: it is refused unless it is a query to its last node,
    and the only files that DuckDB may open are the steps.parquet of these runs. InputError, one
    line, for any other statement, for more than one, and for one that is wrong.
    """
    import duckdb

    try:
        connection = _connect()
        named = _refuse_unless_query(connection, sql)
        for table in TABLES:
            _fill(connection, table, [*_rows(store, table)] if table in named else [])
        readable, unreadable = _steps_files(store) if "steps" in named else ([], [])
        _view_steps(connection, readable)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        connection.execute(sql)
        columns = [column[0] for column in connection.description or []]
        chunks = _fetch(connection)
        first = next(chunks, [])
    except duckdb.Error as error:
        raise _refusal(error) from None

    def told() -> Iterator[list[Row]]:
        yield first
        try:
            yield from chunks
        except duckdb.Error as error:
            raise _refusal(error) from None

    notes = [f"steps.parquet that cannot be read: {some(unreadable)}"] if unreadable else []
    return Answer(columns, told(), store.notes() + notes)


def _fetch(connection: Any) -> Iterator[list[Row]]:
    while rows := connection.fetchmany(10_000):
        yield rows


def _refusal(error: Exception) -> InputError:
    """DuckDB's error in one line, which may hold texts of a record."""
    from harness.text import clean

    told = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return InputError(f"query: {clean(told)[:300]}")


def _connect() -> Any:
    """DuckDB in memory: nothing of it on the disk, and nothing fetched from anywhere."""
    import duckdb

    settings: dict[str, Any] = {
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=settings)


def _refuse_unless_query(connection: Any, sql: str) -> set[str]:
    """The names of what a query reads; InputError unless it is one SELECT, all of it.

    DuckDB calls a statement SELECT whose CTE writes a file, and has functions that run SQL given
    as text: so its own parser's tree is looked through, node by node.
    """
    import duckdb

    only = "query: one SELECT and nothing else (DESCRIBE, SHOW and SUMMARIZE are such)"
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise InputError(f"{only}; there are {len(statements)} statements")
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        raise InputError(f"{only}; this is {str(kind).rpartition('.')[2]}")
    (text,) = connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [sql]).fetchone()
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise InputError("query: nested too deeply") from None
    if tree.get("error") is not False:
        raise InputError(f"{only}; {tree.get('error_message', 'this cannot be looked through')}")
    tables = set()
    left: list[Any] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            type_ = node.get("type")
            if isinstance(type_, str) and type_.endswith("_NODE") and type_ not in QUERY_NODES:
                raise InputError(f"{only}; it holds a {type_.removesuffix('_QUERY_NODE')}")
            if type_ == "TABLE_FUNCTION":
                name = str((node.get("function") or {}).get("function_name", "")).lower()
                if name not in TABLE_FUNCTIONS:
                    raise InputError(
                        f"query: the table function {name!r} is not for this; there are "
                        f"{', '.join(sorted(TABLE_FUNCTIONS))}"
                    )
            if type_ == "BASE_TABLE":
                tables.add(str(node.get("table_name", "")).lower())
            left += node.values()
        elif isinstance(node, list):
            left += node
    return tables


def _fill(connection: Any, table: str, rows: list[Row]) -> None:
    """Make a table of these rows."""
    # Names of tables and columns are ours; all that a run holds is registered as data.
    columns = TABLES[table]
    declared = ", ".join(f'"{name}" {kind}' for name, (kind, _) in columns.items())
    connection.execute(f'CREATE TABLE "{table}" ({declared})')
    if not rows:
        return
    given: dict[str, Any] = {}
    values = []
    for place, ((name, (kind, _)), held) in enumerate(
        zip(columns.items(), zip(*rows, strict=True), strict=True)
    ):
        given[f"v{place}"], value = _column(kind, held, f"v{place}")
        given[f"h{place}"] = np.array([v is not None for v in held], dtype=bool)
        values.append(f'CASE WHEN h{place} THEN {value} END AS "{name}"')
    connection.register("given", given)
    connection.execute(f'INSERT INTO "{table}" SELECT {", ".join(values)} FROM given')  # noqa: S608
    connection.unregister("given")


def _column(kind: Type, held: Row, name: str) -> tuple[Any, str]:
    """A column as an array without None, and what makes the column's type of it."""
    if kind == "VARCHAR":
        return np.array([v or "" for v in held], dtype=object), name
    if kind == "DOUBLE":
        # A NaN from NumPy arrives as NULL.
        numbers = np.array([float(v) if v is not None else 0.0 for v in held])
        return numbers, f"coalesce({name}, 'NaN'::DOUBLE)"
    if kind == "TIMESTAMP":
        naive = [(v or EARLIEST).replace(tzinfo=None) for v in held]
        return np.array(naive, dtype="datetime64[us]"), name
    return np.array([int(v or 0) for v in held], dtype=np.int64), f"{name}::{kind}"


def _steps_files(store: Store) -> tuple[list[str], list[str]]:
    """Paths of the steps.parquet that can be asked, and the ids of the runs whose cannot.

    Of records of schema 1, which have none, nothing is said.
    """
    readable, unreadable = [], []
    for run in store.runs:
        path = f"{run.folder}/{STEPS}"
        if not is_file(path):
            continue
        # DuckDB takes a backslash for a mark in a pattern, with no way to write one.
        if "\\" in path or not _ends_as_parquet(path):
            unreadable.append(run.id)
        else:
            readable.append(path)
    return readable, unreadable


def _ends_as_parquet(path: str) -> bool:
    """Whether a file begins and ends as Parquet does, so that one damaged file stops no query."""
    try:
        with open(path, "rb") as file:
            head = file.read(4)
            file.seek(-4, os.SEEK_END)
            return head == file.read(4) == b"PAR1"
    except OSError:
        return False


def _view_steps(connection: Any, paths: list[str]) -> None:
    """The table `steps`: the files are opened when it is asked for."""
    if not paths:
        declared = ", ".join(f'"{name}" {kind}' for name, kind in STEPS_COLUMNS.items())
        connection.execute(f"CREATE TABLE steps ({declared})")
        return
    patterns = [re.sub(r"[*?[]", r"[\g<0>]", path) for path in paths]
    allowed = ", ".join(map(_literal, dict.fromkeys([*paths, *patterns])))
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    columns = ", ".join(f'"{name}"' for name in samples.COLUMNS)
    files = ", ".join(map(_literal, patterns))
    # A filter on `run` is one on the file's name: DuckDB then opens that run's file only.
    connection.execute(
        f"CREATE VIEW steps AS SELECT parse_path(filename)[-2] AS run, {columns} "  # noqa: S608
        f"FROM read_parquet([{files}], filename = true, union_by_name = true)"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def schema() -> dict[str, dict[str, dict[str, str]]]:
    """Every table's columns, each with its type and what it is."""
    told = {
        table: {name: {"type": kind, "what": what} for name, (kind, what) in columns.items()}
        for table, columns in TABLES.items()
    }
    steps = {name: {"type": kind, "what": STEPS_TOLD[name]} for name, kind in STEPS_COLUMNS.items()}
    return told | {"steps": steps}


def schema_text() -> str:
    """The same for people."""
    lines: list[str] = []
    for table, columns in schema().items():
        lines += ["", table] if lines else [table]
        width = max(map(len, columns))
        lines += [f"  {n:<{width}}  {of['type']:<9}  {of['what']}" for n, of in columns.items()]
    return "\n".join(lines)
