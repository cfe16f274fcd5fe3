"""The stored runs as tables that SQL can be asked of: DuckDB in memory, over the files, read-only.

Each table has a column `run`, the name of the run's folder (`id` in `runs`):

runs      one row a run: when, where, what was planned, the verdict (NULL: not judged, or damaged)
labels    run x label: status, configuration, times, memory, last loss and accuracy
rungs     run x label x rung: verdict, value, limit, share
versions  run x label x package
training  run x label x seed x epoch
steps     every sample of every steps.parquet, read when it is asked for (see `samples.py`)

TABLES says what each column is (`harness query --schema` prints it). NaN and infinities are
themselves. Only what a query names is filled. Imports msgspec; DuckDB inside functions.

DuckDB's own sandbox keeps every file from a query but the steps.parquet of these runs. Those it
would let a query write too, by a COPY in a WITH or by SQL in a text (seen in DuckDB 1.4 and 2.0):
so DuckDB's parser is asked first, and only what is a query to its last node is run.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import Any, NamedTuple

import msgspec

from harness.errors import InputError
from harness.files import open_plain
from harness.record import samples
from harness.record.schema import STEPS, number
from harness.results.store import Run, Store, is_file, some
from harness.text import clean
from harness.verdict.document import Entry

# What a query may take: a store of thousands of runs takes some hundred megabytes and seconds.
MEMORY_LIMIT = "4GB"
MOST_S = 300.0

# Every table and its columns: type, what it is, and where `_rows` has it, if that is not the name
# of the column below what stands beside the table's. Durations are nanoseconds.
SCHEMA = """
runs  judged
  id                 VARCHAR    name of the run's folder  run.id
  folder             VARCHAR    its path  run.folder
  started            TIMESTAMP  UTC  run.started
  seconds            DOUBLE     how long it took
  ended              VARCHAR    finished, interrupted, or what stopped it
  verdict            VARCHAR    agree, disagree, inconclusive, failed; NULL: not judged, or damaged
  summary            VARCHAR    the verdict in a sentence
  profile            VARCHAR    smoke, default, full
  workload           VARCHAR    what was trained
  dataset            VARCHAR    name of the data set  judged.dataset.name
  synthetic          BOOLEAN    whether the data were made up  judged.dataset.synthetic
  planted            BOOLEAN    whether a fault was planted
  machine            VARCHAR    name of the machine, from its stable facts
  processor          VARCHAR    the processor's name
  threads            BIGINT     of each backend
  harness_version    VARCHAR    that measured it
  reference          VARCHAR    what it was judged against
  other_limits       VARCHAR    the file of limits it was judged under, if any
labels  entry
  run                VARCHAR    runs.id  run.id
  label              VARCHAR    name of the configuration in its run  label
  status             VARCHAR    ok, failed, skipped
  reason             VARCHAR    why it failed or was skipped
  agrees             BOOLEAN    whether it computes the same, up to lockstep
  backend            VARCHAR    torch, jax, tensorflow, numpy, ...
  device             VARCHAR    cpu, cuda
  dtype              VARCHAR    float32, float64
  variant            VARCHAR    way of executing
  precision          VARCHAR    strict, tf32, bfloat16
  python             VARCHAR    version of the interpreter
  void               BOOLEAN    whether its times cannot be what they are said to be
  step_ns            BIGINT     a step: geometric mean of the sessions' medians  times.median_ns
  step_low_ns        BIGINT     its 95 % interval  times.ci95_ns.0
  step_high_ns       BIGINT     its 95 % interval  times.ci95_ns.1
  throughput_ns      BIGINT     a step of many with one wait  times.throughput_ns
  gather_ns          BIGINT     picking a batch's rows, median  times.gather_median_ns
  put_ns             BIGINT     host to device, median  times.put_median_ns
  first_step_ns      BIGINT     the first full batch's  times.first_step_ns
  compile_ns         BIGINT     the first step less a steady one  times.compile_ns
  epoch_ns           BIGINT     median  times.epoch_ns
  eval_ns            BIGINT     evaluation on the test set, median  times.eval_ns
  floor_ns           BIGINT     NumPy's products of a step in the same rounds  times.gemm_floor_ns
  floor_ratio        DOUBLE     step over that floor; NULL off the CPU  times.floor_ratio
  floor_low          DOUBLE     its 95 % interval; NULL below five sessions  times.floor_ci95.0
  floor_high         DOUBLE     its 95 % interval  times.floor_ci95.1
  cores              DOUBLE     processor time over wall time of the steps  times.cores
  timed_steps        BIGINT     how many steps that rests on  times.steps
  sessions           BIGINT     how many times in fresh processes  times.sessions
  indicative         BOOLEAN    too few sessions for a claim  times.indicative
  peak_rss_bytes     BIGINT     memory of the process
  peak_device_bytes  BIGINT     memory of the device; NULL where that is the host's
  reproducible       BOOLEAN    trains twice bit for bit; NULL: not measured
  seeds              BIGINT     trainings  seeds
  train_loss         DOUBLE     of the last epoch, mean over seeds, nats  entry.last_loss
  test_accuracy      DOUBLE     after the last epoch, mean over seeds, 0 to 1  entry.last_accuracy
rungs  rung
  run                VARCHAR    runs.id  run.id
  label              VARCHAR    labels.label  label
  rung               VARCHAR    inputs, forward, loss, ..., timing  name
  verdict            VARCHAR    agree, disagree, inconclusive, not-possible
  value              DOUBLE     the measurement nearest its limit
  limit_value        DOUBLE     that limit  rung.limit
  share              DOUBLE     value over limit: above 1 is outside; 0 of a limit 0 that holds
  measured           BIGINT     measurements
  reason             VARCHAR    in a sentence  rung.sentence
  hint               VARCHAR    what a disagreement looks like
  expected           VARCHAR    why it was declared to disagree
versions
  run                VARCHAR    runs.id  run.id
  label              VARCHAR    labels.label
  package            VARCHAR    name
  version            VARCHAR    of the package in that process
training
  run                VARCHAR    runs.id  run.id
  label              VARCHAR    labels.label
  seed               BIGINT     of initialisation and order
  epoch              BIGINT     from 1
  train_loss         DOUBLE     mean over the epoch's samples, nats  loss
  test_accuracy      DOUBLE     after the epoch, 0 to 1  accuracy
steps
  run                VARCHAR    runs.id
  label              VARCHAR    labels.label; of the reference's own trainings: runs.reference
  arm                BIGINT     0; 1 for the second process of a label timed twice
  dtype              VARCHAR    of the process
  phase              VARCHAR    training, reference or round
  series             BIGINT     place of the training or round in its list, from 0
  seed               BIGINT     of the training
  session            BIGINT     of the round, from 0
  round              BIGINT     from 0 in every session
  place              BIGINT     in the order of its round, from 0
  kind               VARCHAR    step, warmup, gather, put, products, burst, drain
  number             BIGINT     place of the sample in its list, from 0
  rows               BIGINT     samples in the batch
  steps              BIGINT     steps that the clocked call made
  ns                 BIGINT     of the call; of step and warmup: a step
  loss               DOUBLE     mean loss of the batch before the step, nats
"""


class Column(NamedTuple):
    """One column of a table. `path`: where its value is in a row of `_rows`."""

    type: str
    what: str
    path: str


def _parsed(text: str) -> Iterator[tuple[str, dict[str, Column]]]:
    for part in re.split(r"\n(?=\S)", text.strip()):
        head, *lines = part.split("\n")
        table, _, below = head.partition("  ")
        columns = {}
        for line in lines:
            name, type_, what, *path = re.split("  +", line.strip())
            columns[name] = Column(type_, what, path[0] if path else f"{below}.{name}".strip("."))
        yield table, columns


TABLES = dict(_parsed(SCHEMA))
# Each kind of sample: steps of a clocked call, losses before them, samples in a training's batches.
KINDS = {
    "step": ("at_once", "losses", "rows"),
    "warmup": ("at_once", "NULL", "NULL"),
    "gather": ("1", "NULL", "rows[:len(gather_ns)]"),
    "put": ("1", "NULL", "rows[:len(put_ns)]"),
    "products": ("1", "NULL", "NULL"),
    "burst": ("burst_steps", "NULL", "NULL"),
    "drain": ("0", "NULL", "NULL"),
}
PLACES = "run, label, arm, dtype, phase, series, seed, session, round, place"
# What a query may name besides the tables: nothing that reads, writes, takes a pointer, or runs SQL
# that stands in a text.
TABLE_FUNCTIONS = frozenset(
    ("generate_series", "json_each", "json_tree", "range", "repeat", "unnest")
)
QUERY_NODES = frozenset(("CTE_NODE", "RECURSIVE_CTE_NODE", "SELECT_NODE", "SET_OPERATION_NODE"))

Row = tuple[Any, ...]


def _rows(store: Store, table: str) -> Iterator[dict[str, Any]]:
    """What the columns of a table's rows are taken from, by the first word of their paths."""
    for run in store.runs:
        of_run: dict[str, Any] = {"run": run, "judged": run.judged}
        if table == "runs":
            yield of_run
            continue
        for label, entry in run.judged.backends.items() if run.judged is not None else ():
            of_label = of_run | {"label": label, "entry": entry}
            if table == "labels":
                yield of_label | {"times": entry.step_time, "seeds": len(entry.train_loss)}
            elif table == "rungs":
                for name, rung in entry.rungs.items():
                    yield of_label | {"name": name, "rung": rung}
            elif table == "versions":
                for package, version in entry.versions.items():
                    yield of_label | {"package": package, "version": version}
            else:
                for epoch in _epochs(entry):
                    yield of_label | epoch


def _epochs(entry: Entry) -> Iterator[dict[str, Any]]:
    for name, losses in entry.train_loss.items():
        seed = int(name) if re.fullmatch(r"-?\d{1,18}", name, re.ASCII) else None
        both = zip_longest(losses, entry.test_accuracy.get(name, []))
        for place, (loss, accuracy) in enumerate(both):
            yield {"seed": seed, "epoch": place + 1, "loss": loss, "accuracy": accuracy}


def _values(rows: list[dict[str, Any]], column: Column) -> list[Any]:
    """A column of the rows of `_rows`; None where any part of its path is."""
    first, *rest = column.path.split(".")
    values = [row[first] for row in rows]
    for name in rest:
        if name.isdecimal():
            values = [None if value is None else value[int(name)] for value in values]
        else:
            values = [None if value is None else getattr(value, name) for value in values]
    if column.type == "DOUBLE":
        return [number(value) if isinstance(value, float) else value for value in values]
    return values


class Answer(NamedTuple):
    """What a query gives: names of the columns, and rows as they are fetched.

    `notes`: what a reader must know of what is not in it, a line each.
    """

    columns: list[str]
    rows: Iterator[Row]
    notes: list[str]


def ask(store: Store, sql: str) -> Answer:
    """The answer of one SELECT over the tables of a store.

    Reading is all that the statement can do: it is refused unless it is a query to its last node,
    and the only files that DuckDB may open are the steps.parquet of these runs. InputError, one
    line, for any other statement, for more than one, for one that is wrong, and for one that takes
    more than MEMORY_LIMIT or MOST_S.
    """
    import duckdb

    try:
        connection = samples.connect(memory_limit=MEMORY_LIMIT)
        named = _tables_of(connection, sql)
        for table in TABLES:
            if table != "steps":
                _fill(connection, table, [*_rows(store, table)] if table in named else [])
        readable, unreadable = _steps_files(store) if "steps" in named else ([], [])
        _view_steps(connection, readable)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        raise _refusal(error) from None
    rows = _fetch(connection, sql)
    columns = [*next(rows)]
    why = "damaged, of another run, or its path is no text"
    left_out = f"{STEPS} that cannot be asked ({why}), left out: {some(unreadable)}"
    notes = [left_out] if unreadable else []
    return Answer(columns, rows, store.notes() + notes)


def _fetch(connection: Any, sql: str) -> Iterator[Row]:
    """The names of an answer's columns, and then its rows.

    DuckDB computes in a thread of its own: in the main one it heeds Ctrl-C late, or not at all.
    """
    import duckdb

    thread, end = ThreadPoolExecutor(1), time.monotonic() + MOST_S

    def wait(call: Callable[..., Any], *words: Any) -> Any:
        return thread.submit(call, *words).result(max(0.0, end - time.monotonic()))

    try:
        wait(connection.execute, sql)
        yield tuple(column[0] for column in connection.description or [])
        while rows := wait(connection.fetchmany, 10_000):
            yield from rows
    except TimeoutError:
        raise InputError(f"query: it took more than {MOST_S:g} s") from None
    except (duckdb.Error, RuntimeError, UnicodeError, MemoryError) as error:
        raise _refusal(error) from None
    finally:
        connection.interrupt()
        thread.shutdown()


def _refusal(error: Exception) -> InputError:
    """DuckDB's error in one line, which may hold texts of a record."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return InputError(f"query: {clean(lines[0])[:300]}")


def _tables_of(connection: Any, sql: str) -> set[str]:
    """The names of what a query reads; InputError unless it is one SELECT, all of it."""
    only = "query: one SELECT and nothing else (DESCRIBE, SHOW and SUMMARIZE are such)"
    (text,) = connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [sql]).fetchone()
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise InputError("query: nested too deeply") from None
    if tree["error"]:
        raise InputError(f"{only}: {clean(tree.get('error_message', 'this is none'))}")
    if (count := len(tree["statements"])) != 1:
        raise InputError(f"{only}; there are {count} statements")
    tables = set()
    left: list[Any] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left += node
        elif isinstance(node, dict):
            left += node.values()
            kind = str(node.get("type"))
            if kind.endswith("_NODE") and kind not in QUERY_NODES:
                raise InputError(f"{only}; it holds a {kind.removesuffix('_QUERY_NODE')}")
            if kind == "BASE_TABLE":
                tables.add(str(node.get("table_name")).lower())
            if kind == "TABLE_FUNCTION":
                name = str((node.get("function") or {}).get("function_name")).lower()
                if name not in TABLE_FUNCTIONS:
                    raise InputError(
                        f"query: the table function {name!r} is not for this; there are "
                        f"{', '.join(sorted(TABLE_FUNCTIONS))}"
                    )
    return tables


def _fill(connection: Any, table: str, rows: list[dict[str, Any]]) -> None:
    """Make a table of these rows."""
    # Names of tables and columns are ours; all that a run holds is a parameter.
    columns = TABLES[table]
    _create(connection, table)
    values = {
        name: msgspec.json.encode(_values(rows, column)).decode()
        for name, column in columns.items()
    }
    stored = (f"unnest(from_json(${name}, '[\"{of.type}\"]'))" for name, of in columns.items())
    connection.execute(f'INSERT INTO "{table}" SELECT {", ".join(stored)}', values)


def _create(connection: Any, table: str) -> None:
    declared = ", ".join(f'"{name}" {column.type}' for name, column in TABLES[table].items())
    connection.execute(f'CREATE TABLE "{table}" ({declared})')


def _steps_files(store: Store) -> tuple[list[str], list[str]]:
    """Paths of the steps.parquet that can be asked, and the ids of the runs whose cannot."""
    readable, unreadable = [], []
    for run in store.runs:
        path = f"{run.folder}/{STEPS}"
        # DuckDB takes a backslash for a mark in a pattern, with no way to write one.
        if is_file(path) and "\\" not in path and _is_whole(run):
            readable.append(path)
        elif is_file(path) or "�" in path:  # what stands for bytes that are no text
            unreadable.append(run.id)
    return readable, unreadable


def _is_whole(run: Run) -> bool:
    """Whether a run's samples are those of its record: one damaged file must stop no query."""
    try:
        with open_plain(f"{run.folder}/{STEPS}", follow=False) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return False
    return run.samples is not None and found == run.samples.sha256


def _view_steps(connection: Any, paths: list[str]) -> None:
    """The table `steps`, a row a sample: the files are opened when it is asked for."""
    if not paths:
        _create(connection, "steps")
        return
    patterns = [re.sub(r"[*?[]", r"[\g<0>]", path) for path in paths]
    allowed = ", ".join(map(_literal, dict.fromkeys([*paths, *patterns])))
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    kinds = ", ".join(
        f"{{'kind': '{kind}', 'steps': {steps}, 'ns': {kind}_ns, 'losses': {losses}::DOUBLE[], "
        f"'rows': {rows}::BIGINT[]}}"
        for kind, (steps, losses, rows) in KINDS.items()
    )
    # A filter on `run` is one on the file's name: DuckDB then opens that run's file only.
    connection.execute(f"""CREATE VIEW steps AS
        SELECT {PLACES}, kind, number,
            if(phase = 'round', if(kind IN ('products', 'drain'), NULL, batch), rows) AS rows,
            if(kind = 'burst', steps << (number % 2), steps) AS steps, ns, loss
        FROM (SELECT {PLACES}, batch, of.kind AS kind, of.steps AS steps,
            unnest(range(greatest(len(of.ns), len(of.losses), len(of.rows)))) AS number,
            unnest(of.ns) AS ns, unnest(of.losses) AS loss, unnest(of.rows) AS rows
        FROM (SELECT *, parse_path(filename)[-2] AS run, unnest([{kinds}]) AS of
        FROM read_parquet([{", ".join(map(_literal, patterns))}],
            filename = true, union_by_name = true)))""")  # noqa: S608


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def schema() -> dict[str, dict[str, dict[str, str]]]:
    """Every table's columns, each with its type and what it is."""
    return {
        table: {name: {"type": of.type, "what": of.what} for name, of in columns.items()}
        for table, columns in TABLES.items()
    }


def schema_text() -> str:
    """The same for people."""
    lines: list[str] = []
    for table, columns in schema().items():
        lines += ["", table] if lines else [table]
        width = max(map(len, columns))
        lines += [f"  {n:<{width}}  {of['type']:<9}  {of['what']}" for n, of in columns.items()]
    return "\n".join(lines)
