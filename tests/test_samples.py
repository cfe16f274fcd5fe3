"""The series of a record lie in a table beside it: all of them, the same again, or refused."""

from __future__ import annotations

import copy
import errno
import hashlib
import inspect
import json
import math
import os
import resource
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError, InputError
from harness.record import samples, store
from harness.record.schema import Number, Record, Results, Round, Training
from harness.results import query as queries
from harness.results import store as runs
from tests import make, test_record
from tests.test_record import naturals, numbers, texts

# -- records of all sorts --------------------------------------------------------------------

times = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4)
trainings = st.builds(
    make.training,
    dtype=texts,
    seed=naturals,
    rows=st.lists(naturals, max_size=4),
    losses=st.lists(numbers, max_size=4),
    step_ns=times,
    gather_ns=times,
    put_ns=times,
)
rounds = st.builds(
    Round,
    session=naturals,
    round=naturals,
    place=naturals,
    at_once=st.integers(0, 2**31),
    burst_steps=st.integers(0, 2**31),
    **dict.fromkeys(samples.ROUND_LISTS, times),
)
results = st.builds(
    Results, training=st.lists(trainings, max_size=2), rounds=st.lists(rounds, max_size=3)
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    labels = draw(st.lists(texts, max_size=3, unique=True))
    plan = make.plan(reference=draw(texts))
    plan = msgspec.structs.replace(plan, labels=dict.fromkeys(labels, make.label()))
    return make.record(
        plan=plan,
        results={label: draw(results) for label in labels},
        again={label: draw(results) for label in labels[:1]},
        reference=draw(st.lists(trainings, max_size=2)),
    )


def busy() -> Record:
    """A record with something in every list and every column."""
    made = make.record()
    for found in made.results.values():
        found.training = [
            make.training(gather_ns=[5, 6], put_ns=[7, 8]),
            make.training(seed=1, losses=["nan", "inf", "-inf", -0.0], rows=[256] * 4),
        ]
        for place, each in enumerate(found.rounds):
            each.session, each.place, each.at_once = place % 2, place % 3, 4
            each.warmup_ns, each.drain_ns = [9000, 8000, 7000], [50, 51]
            each.burst_steps, each.burst_ns = 6, [6000, 12_000]
    made.again = {"numpy": Results(rounds=make.rounds(number=2))}
    made.reference = [make.training(dtype="float64", step_ns=[], losses=[2.3, 1.1])]
    return made


def refusal(read: Callable[[], Any], folder: Path) -> str:
    """The message of the refusal: one line that names the file of samples."""
    return test_record.refusal(read, str(folder / "steps.parquet"))


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a user's DuckDB answers; the table is called steps."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW steps AS FROM '{folder}/steps.parquet'")
        return connection.execute(sql).fetchall()


def unnested(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """What `harness query` answers of the one file; its table steps has a row a sample."""
    (folder / "verdict.json").write_text("{}")
    answer = queries.ask(runs.find(folder.parent.parent), sql)
    return [*answer.rows]


# -- there and back --------------------------------------------------------------------------


@settings(deadline=None)
@given(records())
def test_a_record_is_taken_apart_into_a_table_and_a_rest_without_series(made: Record) -> None:
    before = copy.deepcopy(made)
    rows, rest = samples.table(made), samples.table(samples.strip(made))
    assert samples.count(rest) == 0
    assert [[row[name] for name in samples.PLACES] for row in rows] == [
        [row[name] for name in samples.PLACES] for row in rest
    ]
    assert made == before


@settings(deadline=None, max_examples=25)
@given(records())
def test_any_record_is_the_same_after_it_was_written_and_read(made: Record) -> None:
    before = copy.deepcopy(made)
    with tempfile.TemporaryDirectory() as name:
        store.write(made, Path(name))
        back = store.read(Path(name))
    assert back == made == before


def test_the_sign_of_zero_and_every_bit_of_a_loss_survive(tmp_path: Path) -> None:
    losses: list[Number] = [-0.0, 0.0, 5e-324, 0.1, 1.7976931348623157e308, "nan", "inf", "-inf"]
    made = make.record(("numpy",))
    made.results["numpy"].training = [make.training(losses=losses)]
    store.write(made, tmp_path)
    back = store.read(tmp_path).results["numpy"].training[0].losses
    assert back == losses
    assert math.copysign(1, float(back[0])) == -1
    assert [type(loss) for loss in back] == [type(loss) for loss in losses]


def test_record_json_keeps_everything_but_the_series_and_names_the_file(tmp_path: Path) -> None:
    made = busy()
    document = json.loads(store.write(made, tmp_path).read_text())
    said = document.pop("samples")
    data = (tmp_path / "steps.parquet").read_bytes()
    assert said["file"] == "steps.parquet"
    assert said["sha256"] == hashlib.sha256(data).hexdigest()
    rows = samples.table(made)
    assert (said["rows"], said["numbers"]) == (len(rows), samples.count(rows))
    whole = json.loads(store.encode(made))
    del whole["samples"]
    for owner, _ in samples.owners(made):
        for field in samples.lists_of(owner):
            setattr(owner, field, [])
    without = json.loads(store.encode(made))
    del without["samples"]
    assert whole != without == document


def test_the_same_record_gives_the_same_bytes_and_is_never_written_over(tmp_path: Path) -> None:
    made, again = busy(), tmp_path / "again"
    store.write(made, tmp_path)
    again.mkdir()
    store.write(store.read(tmp_path), again)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert {path.name: path.read_bytes() for path in again.iterdir()} == first
    with pytest.raises(InputError, match="a record is stored there"):
        store.write(make.record(), again)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == first


def test_a_record_without_a_single_sample_has_an_empty_table(tmp_path: Path) -> None:
    made = make.record(results={})
    store.write(made, tmp_path)
    assert store.read(tmp_path) == made
    assert query(tmp_path, "SELECT count(*) FROM steps") == [(0,)]


@pytest.mark.parametrize(
    "name",
    ["moved", "a*[b]?", "it's; DROP", 'say "so"', "two\nlines", "~", "é ü", "s3:", "\\x", "%41"],
)
def test_a_folder_of_any_name_is_written_and_read_where_it_is_copied(
    name: str, tmp_path: Path
) -> None:
    made = busy()
    folder = tmp_path / name
    folder.mkdir()
    store.write(made, folder)
    shutil.move(folder, tmp_path / "elsewhere")
    folder.mkdir()
    shutil.copytree(tmp_path / "elsewhere", folder / name)
    assert store.read(folder / name) == made
    assert os.listdir(folder) == [name]


def test_a_folder_whose_name_is_not_utf8_is_written_and_read(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    folder.mkdir()
    store.write(busy(), folder)
    assert store.read(folder) == busy()


# -- what a user can ask ---------------------------------------------------------------------


def test_the_table_has_the_columns_and_types_that_its_docstring_tells_of(tmp_path: Path) -> None:
    store.write(busy(), tmp_path)
    found = [line[:2] for line in query(tmp_path, "DESCRIBE steps")]
    types = ("VARCHAR", "BIGINT", "BIGINT[]", "DOUBLE[]")
    words = [tuple(line.split()[:2]) for line in (inspect.getdoc(samples) or "").splitlines()]
    assert found == [pair for pair in words if pair[1:] and pair[1] in types]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked") / "runs" / "one"
    folder.mkdir(parents=True)
    store.write(busy(), folder)
    return folder


def test_a_row_says_where_it_stands_and_holds_its_lists(asked: Path) -> None:
    row = "SELECT * FROM steps WHERE label = 'torch' AND phase = "
    (found,) = query(asked, f"{row} 'training' AND series = 0")
    assert found == (
        *("torch", 0, "float32", "training", 0, 0, 0, None, None, 256, 1, 0),
        *([256, 96], [1.0, 0.5], [1000, 900], [], [5, 6], [7, 8], [], [], []),
    )
    (found,) = query(asked, f"{row} 'round' AND round = 5")
    assert found == (
        *("torch", 0, "float32", "round", 5, None, 1, 5, 2, 256, 4, 6),
        *([], [], [1000, 1005, 1010], [9000, 8000, 7000], [10], [20], [400, 500]),
        *([6000, 12_000], [50, 51]),
    )


def test_of_every_sample_the_table_steps_says_where_it_stands(asked: Path) -> None:
    row = "SELECT * EXCLUDE (run) FROM steps WHERE label = 'torch' AND number = 1 AND {} "
    row += "ORDER BY list_position(['step', 'warmup', 'gather', 'put', 'products', 'burst'], kind)"
    reference = ("harness/float64", 0, "float64", "reference", 0, 0, 0, None, None)
    assert unnested(asked, row.format("phase = 'training' AND series = 0")) == [
        ("torch", 0, "float32", "training", 0, 0, 0, None, None, "step", 1, 96, 1, 900, 0.5),
        ("torch", 0, "float32", "training", 0, 0, 0, None, None, "gather", 1, 96, 1, 6, None),
        ("torch", 0, "float32", "training", 0, 0, 0, None, None, "put", 1, 96, 1, 8, None),
    ]
    common = ("torch", 0, "float32", "round", 5, None, 1, 5, 2)
    assert unnested(asked, row.format("round = 5")) == [
        (*common, "step", 1, 256, 4, 1005, None),
        (*common, "warmup", 1, 256, 4, 8000, None),
        (*common, "products", 1, None, 1, 500, None),
        (*common, "burst", 1, 256, 12, 12_000, None),
        (*common, "drain", 1, None, 0, 51, None),
    ]
    sql = "SELECT * EXCLUDE (run) FROM steps WHERE phase = 'reference' AND number = 0"
    assert unnested(asked, sql) == [(*reference, "step", 0, 256, 1, None, 2.3)]
    assert unnested(asked, "SELECT DISTINCT label, phase, arm FROM steps WHERE arm = 1") == [
        ("numpy", "round", 1)
    ]


def test_a_query_finds_the_sums_of_all_lists(asked: Path) -> None:
    for label, found in busy().results.items():
        for kind in samples.KINDS:
            listed = [ns for r in found.rounds for ns in getattr(r, f"{kind}_ns")]
            sql = "FROM steps SELECT count(*), sum(ns) WHERE arm = 0 AND phase = 'round' "
            sql += f"AND label = '{label}' AND kind = '{kind}'"
            assert unnested(asked, sql) == [(len(listed), sum(listed))]
    odd = "SELECT count(*) FILTER (isnan(loss)), count(*) FILTER (isinf(loss)) FROM steps"
    assert unnested(asked, odd) == [(2, 4)]


def test_every_list_of_a_training_and_a_round_has_one_place() -> None:
    # A list that is added to the record must be put into the table, or into this list.
    inline = {"epoch_losses", "test_accuracy", "epoch_ns", "eval_ns", "confusion"}
    inline |= {"test_loss", "validation_accuracy", "training_accuracy", "gradient_norms"}
    inline |= {"path", "path_steps", "went_on"}
    for owner, stored in ((Training, samples.TRAINING_LISTS), (Round, samples.ROUND_LISTS)):
        found = {f.name for f in msgspec.structs.fields(owner) if "list[" in str(f.type)}
        assert found - inline == set(stored)


# -- damaged, foreign, hostile ---------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    store.write(busy(), folder)
    return folder


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_bytes_are_refused(stored: Path, data: st.DataObject) -> None:
    whole = (stored / "steps.parquet").read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    spoilt = data.draw(st.sampled_from([whole[:at], flipped, whole + whole[at:]]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(stored / "record.json", folder)
        (folder / "steps.parquet").write_bytes(spoilt)
        assert "damaged" in refusal(lambda: store.read(folder), folder)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_damaged_bytes_with_a_hash_that_fits_end_in_no_other_error(
    stored: Path, data: st.DataObject
) -> None:
    whole = bytearray((stored / "steps.parquet").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "steps.parquet").write_bytes(whole)
        claim(folder, json.loads((stored / "record.json").read_text()))
        message = ""
        try:
            store.read(folder)
        except InputError as error:
            message = str(error)
        assert message.isprintable()
        assert not message or str(folder / "steps.parquet") in message


def claim(folder: Path, document: Any, **counts: int) -> None:
    """Write record.json so that it names the steps.parquet that is there."""
    data = (folder / "steps.parquet").read_bytes()
    document["samples"] |= {"sha256": hashlib.sha256(data).hexdigest(), **counts}
    (folder / "record.json").write_text(json.dumps(document))


def forge(stored: Path, folder: Path, sql: str) -> None:
    """A record whose table, called steps in `sql`, was made another, and which knows it."""
    target = f"'{folder}/steps.parquet' (FORMAT parquet)"
    query(stored, f"COPY ({sql}) TO {target}")
    document = json.loads((stored / "record.json").read_text())
    (((rows,),),) = (query(folder, "SELECT count(*) FROM steps"),)
    claim(folder, document, rows=rows)


def replaced(column: str, value: str, where: str = "true") -> str:
    changed = f"CASE WHEN {where} THEN {value} ELSE {column} END"
    return f"SELECT * REPLACE ({changed} AS {column}) FROM steps"


ONE = "label = 'torch' AND phase = 'round' AND series = 3"
FIRST = "label = 'torch' AND phase = 'training' AND series = 0"
FORGED = {
    "an extra column": "SELECT *, 1 AS more FROM steps",
    "a column less": "SELECT * EXCLUDE (place) FROM steps",
    "another name": "SELECT * EXCLUDE (drain_ns), drain_ns AS drain_us FROM steps",
    "another order of columns": "SELECT step_ns, * EXCLUDE (step_ns) FROM steps",
    "another type": "SELECT * REPLACE (step_ns::DOUBLE[] AS step_ns) FROM steps",
    "a narrower type": "SELECT * REPLACE (series::INTEGER AS series) FROM steps",
    "losses of text": "SELECT * REPLACE (losses::VARCHAR[] AS losses) FROM steps",
    "labels of bytes": "SELECT * REPLACE (label::BLOB AS label) FROM steps",
    "nested numbers": "SELECT * REPLACE ([step_ns] AS step_ns) FROM steps",
    "a foreign table": "SELECT 1 AS a",
    "a row less": f"SELECT * FROM steps WHERE NOT ({ONE})",
    "a row twice": f"SELECT * FROM steps UNION ALL SELECT * FROM steps WHERE {ONE}",
    "the other way round": "SELECT * FROM steps ORDER BY series DESC",
    "a huge series": replaced("series", "9223372036854775807", ONE),
    "a negative series": replaced("series", "-1", ONE),
    "a third arm": replaced("arm", "2", ONE),
    "no arm": replaced("arm", "NULL"),
    "a stranger": replaced("label", "'stranger'", ONE),
    "no label": replaced("label", "NULL", ONE),
    "an unknown phase": replaced("phase", "'rest'", ONE),
    "another dtype": replaced("dtype", "'float64'", ONE),
    "a seed in a round": replaced("seed", "0", ONE),
    "another seed": replaced("seed", "7", FIRST),
    "no seed": replaced("seed", "NULL", FIRST),
    "another session": replaced("session", "9", ONE),
    "another round": replaced("round", "9", ONE),
    "another place": replaced("place", "9", ONE),
    "another batch": replaced("batch", "9", ONE),
    "other steps at once": replaced("at_once", "9", ONE),
    "other bursts": replaced("burst_steps", "9", ONE),
    "a list that trainings lack": replaced("drain_ns", "[1]", FIRST),
    "losses in a round": replaced("losses", "[1.0]", ONE),
    "no list": replaced("step_ns", "NULL", ONE),
    "no time in a list": replaced("step_ns", "[1000, NULL, 1006]", ONE),
    "no loss in a list": replaced("losses", "[NULL, 0.5]", FIRST),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_table_is_refused_though_its_hash_fits(
    what: str, stored: Path, tmp_path: Path
) -> None:
    forge(stored, tmp_path, FORGED[what])
    refusal(lambda: store.read(tmp_path), tmp_path)


def test_a_table_written_anew_by_others_is_read_if_it_says_the_same(
    stored: Path, tmp_path: Path
) -> None:
    # So it is the changes above that are refused, not the forging.
    forge(stored, tmp_path, "SELECT * FROM steps")
    assert store.read(tmp_path) == busy()
    forge(stored, tmp_path, replaced("step_ns", "[1000, 77, 1006]", ONE))
    assert store.read(tmp_path).results["torch"].rounds[3].step_ns == [1000, 77, 1006]


@pytest.mark.parametrize("field", ["rows", "numbers"])
@pytest.mark.parametrize("claimed", [0, 1, 10**6, 10**18])
def test_another_count_than_the_tables_is_refused(
    field: str, claimed: int, stored: Path, tmp_path: Path
) -> None:
    shutil.copy(stored / "steps.parquet", tmp_path)
    claim(tmp_path, json.loads((stored / "record.json").read_text()), **{field: claimed})
    message = refusal(lambda: store.read(tmp_path), tmp_path)
    assert ("at most" in message) == (field == "numbers" and claimed > samples.MOST_NUMBERS)


@pytest.mark.parametrize(
    "endless",
    [
        "SELECT * EXCLUDE (i) FROM (FROM steps LIMIT 1), range(3000000) r(i)",
        replaced("step_ns", "(SELECT list(1) FROM range(30000000))", ONE),
    ],
)
def test_a_table_of_endless_equal_numbers_is_not_taken_into_memory(
    endless: str, stored: Path, tmp_path: Path
) -> None:
    document = json.loads((stored / "record.json").read_text())
    forge(stored, tmp_path, endless)
    claim(tmp_path, document)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "not the " in refusal(lambda: store.read(tmp_path), tmp_path)
    # Kilobytes: what the forging took, and a tenth of what the lists would take.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("file", ["../steps.parquet", "/etc/passwd", "other.parquet", ""])
def test_a_record_that_points_to_another_file_is_refused(
    file: str, stored: Path, tmp_path: Path
) -> None:
    document = json.loads((stored / "record.json").read_text())
    document["samples"]["file"] = file
    (tmp_path / "record.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"samples\.file"):
        store.read(tmp_path)


def test_a_missing_table_and_what_is_no_file_are_refused(stored: Path, tmp_path: Path) -> None:
    shutil.copy(stored / "record.json", tmp_path)
    assert "No such file" in refusal(lambda: store.read(tmp_path), tmp_path)
    (tmp_path / "steps.parquet").mkdir()
    assert "not a file" in refusal(lambda: store.read(tmp_path), tmp_path)
    (tmp_path / "steps.parquet").rmdir()
    os.mkfifo(tmp_path / "steps.parquet")
    assert "not a file" in refusal(lambda: store.read(tmp_path), tmp_path)


def test_the_table_of_another_run_is_refused(stored: Path, tmp_path: Path) -> None:
    store.write(make.record(), tmp_path)
    shutil.copy(stored / "steps.parquet", tmp_path)
    assert "another run" in refusal(lambda: store.read(tmp_path), tmp_path)


def test_series_in_both_places_or_in_none_are_refused(stored: Path, tmp_path: Path) -> None:
    shutil.copytree(stored, tmp_path, dirs_exist_ok=True)
    document = json.loads((stored / "record.json").read_text())
    document["results"]["numpy"]["rounds"][0]["step_ns"] = [1]
    (tmp_path / "record.json").write_text(json.dumps(document))
    assert "series too" in refusal(lambda: store.read(tmp_path), tmp_path)
    document["samples"] = None
    (tmp_path / "record.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="does not name its samples"):
        store.read(tmp_path)


# -- writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("step_ns", [1, 1.5]),
        ("step_ns", [2**63]),
        ("step_ns", [2**70]),
        ("step_ns", [None]),
        ("rows", [-(2**63) - 1]),
        ("losses", ["fast"]),
        ("losses", [None]),
    ],
)
def test_what_no_record_may_hold_is_an_error_and_nothing_is_written(
    field: str, values: list[Any], tmp_path: Path
) -> None:
    made = busy()
    setattr(made.results["numpy"].training[0], field, values)
    with pytest.raises(HarnessError, match="cannot encode the record") as caught:
        store.write(made, tmp_path)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_file_size_limit_is_told_in_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        message = refusal(lambda: store.write(busy(), tmp_path), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in message
    assert "--results-dir" in message
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_the_system_tells_duckdb_is_told_as_its_own(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = MagicMock()
    told = f"IO Error: Could not write\nall bytes: {os.strerror(code)}"
    full.__enter__.return_value.execute.side_effect = duckdb.IOException(told)
    full.__exit__.return_value = False
    monkeypatch.setattr(samples, "connect", lambda **_: full)
    message = refusal(lambda: store.write(busy(), tmp_path), tmp_path)
    assert os.strerror(code) in message
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_gone_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    assert "No such file" in refusal(lambda: store.write(busy(), folder), folder)


def test_the_table_has_its_name_before_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace = os.replace

    def renamed(old: str, new: Path) -> None:
        done.append(new.name)
        if new.name == "record.json":
            assert (tmp_path / "steps.parquet").stat().st_size > 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(old, new)

    monkeypatch.setattr(os, "replace", renamed)
    with pytest.raises(InputError, match="No space left"):
        store.write(busy(), tmp_path)
    assert done == ["steps.parquet", "record.json"]
    assert os.listdir(tmp_path) == ["steps.parquet"]


def test_a_write_that_ends_between_the_two_files_leaves_no_record_to_be_believed(
    tmp_path: Path,
) -> None:
    samples.store(busy(), tmp_path / "steps.parquet")
    with pytest.raises(InputError, match=r"record\.json"):
        store.read(tmp_path)
    store.write(make.record(), tmp_path)
    samples.store(busy(), tmp_path / "steps.parquet")
    refusal(lambda: store.read(tmp_path), tmp_path)


def test_duckdb_leaves_nothing_where_it_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    store.write(busy(), tmp_path / "run")
    store.read(tmp_path / "run")
    assert os.listdir() == []
