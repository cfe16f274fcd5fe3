"""Stored runs are found by what lies on the disk, and SQL over them reads and does nothing else."""

from __future__ import annotations

import contextlib
import copy
import csv
import hashlib
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import files
from harness.errors import InputError
from harness.record import samples, store
from harness.record import schema as record
from harness.results import query
from harness.results import store as runs
from harness.verdict import verdict
from harness.verdict.finding import Finding
from tests import make
from tests.conftest import clean_environment, harness

NAME = "20260102T030405-0000{:02x}"


def told(made: record.Record) -> dict:
    """verdict.json of a record, as plain data."""
    return json.loads(json.dumps(verdict.to_json(made, verdict.judge(made), "somewhere")))


@pytest.fixture(scope="module")
def document():
    """verdict.json of a run in five sessions: numpy, torch."""
    return told(make.timed())


# Bytes of real steps.parquet, each with how many samples it holds; each holds another number.
STEPS: list[tuple[bytes, int]] = []


@pytest.fixture(scope="module", autouse=True)
def steps(tmp_path_factory):
    for number in range(1, 5):
        folder = tmp_path_factory.mktemp("steps")
        made = make.timed(number=number)
        store.write(made, folder)
        clocked = [getattr(owner, f"{kind}_ns", [])
                   for owner, _ in samples.owners(made) for kind in samples.KINDS]  # fmt: skip
        STEPS.append(((folder / "steps.parquet").read_bytes(), sum(map(len, clocked))))


def put(
    results: Path,
    document: dict,
    number: int = 0,
    *,
    name: str | None = None,
    steps: bytes | None = None,
) -> Path:
    """A stored run; of its record only matters that it is whole, and which steps it names."""
    name = name or NAME.format(number)
    folder = results / "runs" / name
    folder.mkdir(parents=True)
    digest = hashlib.sha256(steps or b"").hexdigest()
    samples = record.Samples(rows=1, numbers=1, sha256=digest)
    (folder / "record.json").write_bytes(msgspec.json.encode({"run": name, "samples": samples}))
    if steps is not None:
        (folder / "steps.parquet").write_bytes(steps)
    changed = document | {"run": name, "started": f"2026-01-02T03:04:{number % 60:02d}Z"}
    (folder / "verdict.json").write_text(json.dumps(changed))
    return folder


def naive(*parts: int) -> datetime:
    """A time as DuckDB gives it: UTC, without a zone."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)


def rows(results: Path, sql: str) -> list[dict[str, Any]]:
    answer = query.ask(runs.find(results), sql)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


# ---- the tables


def test_every_table_holds_what_verdict_json_holds(tmp_path, document):
    put(tmp_path, document)
    (found,) = rows(tmp_path, "SELECT * FROM runs")
    for name in ("verdict", "summary", "profile", "workload", "machine", "processor", "threads",
                 "harness_version", "ended", "seconds", "reference"):  # fmt: skip
        assert found[name] == document[name], name
    assert found["id"] == NAME.format(0)
    assert found["folder"] == str(tmp_path / "runs" / NAME.format(0))
    assert found["started"] == naive(2026, 1, 2, 3, 4, 0)
    assert (found["dataset"], found["synthetic"], found["planted"]) == (
        "fashion-mnist",
        False,
        False,
    )

    labels = rows(tmp_path, "SELECT * FROM labels")
    assert [found["label"] for found in labels] == list(document["backends"])
    for found in labels:
        entry = document["backends"][found["label"]]
        times = entry["step_time"]
        for name in ("status", "backend", "device", "dtype", "variant", "precision", "python",
                     "reproducible", "peak_rss_bytes"):  # fmt: skip
            assert found[name] == entry[name], name
        for name in ("throughput_ns", "first_step_ns", "compile_ns", "epoch_ns", "floor_ratio",
                     "cores", "sessions", "indicative"):  # fmt: skip
            assert found[name] == times[name], name
        assert found["step_ns"] == times["median_ns"]
        assert [found["step_low_ns"], found["step_high_ns"]] == times["ci95_ns"]
        assert [found["floor_low"], found["floor_high"]] == times["floor_ci95"]
        assert found["agrees"] is True
        assert found["void"] is False
        assert found["test_accuracy"] == 0.835
        assert found["train_loss"] == 0.38

    for found in rows(tmp_path, "SELECT * FROM rungs"):
        rung = document["backends"][found["label"]]["rungs"][found["rung"]]
        assert found["limit_value"] == rung["limit"]
        for name in ("verdict", "value", "measured", "reason", "hint", "expected"):
            assert found[name] == rung[name], name
        if rung["value"] is not None and rung["limit"]:
            assert found["share"] == rung["value"] / rung["limit"]
    counted = "SELECT label, count(*) AS n FROM rungs GROUP BY 1"
    assert {r["label"]: r["n"] for r in rows(tmp_path, counted)} == {
        label: len(entry["rungs"]) for label, entry in document["backends"].items()
    }

    versions = rows(tmp_path, "SELECT label, package, version FROM versions")
    assert {tuple(r.values()) for r in versions} == {
        (label, *pair)
        for label, entry in document["backends"].items()
        for pair in entry["versions"].items()
    }
    training = rows(tmp_path, "SELECT * FROM training WHERE label = 'torch' ORDER BY epoch")
    assert [r["test_accuracy"] for r in training] == [0.7, 0.83, 0.84, 0.835]
    assert [r["train_loss"] for r in training] == [1.0, 0.5, 0.39, 0.38]
    assert [r["epoch"] for r in training] == [1, 2, 3, 4]
    assert {r["seed"] for r in training} == {0}


def test_the_schema_that_is_printed_is_the_one_there_is(tmp_path, document):
    (tmp_path / "runs").mkdir()
    schema = query.schema()
    assert {r["name"] for r in rows(tmp_path, "SHOW TABLES")} == set(schema)
    for table, columns in schema.items():
        found = rows(tmp_path, f"DESCRIBE {table}")
        expected = {name: of["type"] for name, of in columns.items()}
        assert {r["column_name"]: r["column_type"] for r in found} == expected
        assert all(of["what"] for of in columns.values())
        for name in columns:
            assert f"  {name} " in query.schema_text()


def test_no_column_needs_quotes(tmp_path):
    (tmp_path / "runs").mkdir()
    for table, columns in query.schema().items():
        assert rows(tmp_path, f"SELECT {', '.join(columns)} FROM {table}") == []


@pytest.mark.parametrize("stored", ["nan", "inf", "-inf"])
def test_a_number_that_is_not_finite_is_itself_and_not_null(tmp_path, document, stored, command):
    changed = copy.deepcopy(document)
    changed["backends"]["torch"]["rungs"]["forward"] |= {"value": stored, "verdict": "disagree"}
    changed["backends"]["torch"]["train_loss"]["0"][-1] = stored
    put(tmp_path, changed)
    sql = "SELECT value, share FROM rungs WHERE label = 'torch' AND rung = 'forward'"
    (found,) = rows(tmp_path, sql)
    assert str(found["value"]) == stored
    assert str(found["share"]) == stored
    (found,) = rows(tmp_path, "SELECT train_loss FROM labels WHERE label = 'torch'")
    assert str(found["train_loss"]) == stored
    assert json.loads(command("query", sql, "--json", "--results-dir", tmp_path).out) == [
        {"value": stored, "share": stored}
    ]


def test_a_share_of_no_limit_and_of_a_limit_of_zero():
    def share(value: Any, limit: Any) -> float | None:
        return Finding(rung="loss", sentence="", value=value, limit=limit).share

    assert share(None, 1.0) is None
    assert share(1.0, None) is None
    assert share(0.0, 0.0) == 0
    assert share(1.0, 0.0) == math.inf
    assert share(3.0, 2.0) == 1.5
    assert math.isnan(share("nan", 0.0) or 0)


# ---- what is a run


def test_a_folder_without_a_record_is_no_run(tmp_path, document):
    put(tmp_path, document)
    killed = put(tmp_path, document, 1)
    (killed / "record.json").unlink()
    (tmp_path / "runs" / "a file").write_text("")
    found = runs.find(tmp_path)
    assert [r.id for r in found.runs] == [NAME.format(0)]
    assert found.rest == [killed.name]
    assert found.notes() == []


DAMAGES: dict[str, bytes | None] = {
    "missing": None,
    "cut": None,
    "huge": None,
    "link": None,
    "pipe": None,
    "folder": None,
    "empty": b"",
    "no text": b'{"verdict": "\xff"}',
    "deep": b'{"more": ' + b"[" * 100_000,
    "another": b'{"schema": 1, "verdict": "perhaps"}',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_without_a_whole_verdict_is_named(tmp_path, document, damage, command):
    put(tmp_path, document)
    file = put(tmp_path, document, 1) / "verdict.json"
    whole = file.read_bytes()
    file.unlink()
    if (damaged := DAMAGES[damage]) is not None:
        file.write_bytes(damaged)
    elif damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "huge":
        file.write_bytes(whole)
        os.truncate(file, runs.MOST_VERDICT + 1)
    elif damage == "link":
        file.symlink_to(tmp_path / "runs" / NAME.format(0) / "verdict.json")
    elif damage == "pipe":
        os.mkfifo(file)
    elif damage == "folder":
        file.mkdir()
    sql = "SELECT id, verdict FROM runs ORDER BY id"
    said = command("query", sql, "--json", "--results-dir", tmp_path)
    assert json.loads(said.out) == [
        {"id": NAME.format(0), "verdict": document["verdict"]},
        {"id": NAME.format(1), "verdict": None},
    ]
    assert said.err.count(NAME.format(1)) == 2  # its name, and in the command that mends it
    assert "1 run not judged" in said.err
    assert f"harness check {file.parent}" in said.err


def is_cut(record: Path) -> None:
    os.truncate(record, record.stat().st_size // 2)


BROKEN: dict[str, Any] = {
    "cut": is_cut,
    "by its last letter": lambda record: os.truncate(record, record.stat().st_size - 1),
    "empty": lambda record: record.write_bytes(b""),
    "an empty document": lambda record: record.write_text("{}"),
    "no samples": lambda record: record.write_text('{"run": "x"}'),
    "its end alone": lambda record: record.write_bytes(b"\0" + record.read_bytes()[1:]),
    "a list": lambda record: record.write_text("[]"),
    "bytes": lambda record: record.write_bytes(b"\xff\xfe\0"),
    "deep": lambda record: record.write_text('{"more": ' + "[" * 100_000),
}


@pytest.mark.parametrize("spoil", BROKEN)
def test_a_run_whose_record_is_damaged_does_not_count_and_is_named(
    tmp_path, document, spoil, command
):
    for number in range(2):
        folder = tmp_path / "runs" / NAME.format(number)
        folder.mkdir(parents=True)
        store.write(make.timed(number=1), folder)
        (folder / "verdict.json").write_text(json.dumps(document | {"run": folder.name}))
    BROKEN[spoil](folder / "record.json")
    sql = "SELECT id, verdict, (SELECT count(DISTINCT run) FROM labels) AS n FROM runs ORDER BY id"
    where = ("--json", "--results-dir", tmp_path)
    said = command("query", sql, *where)
    assert json.loads(said.out) == [
        {"id": NAME.format(0), "verdict": document["verdict"], "n": 1},
        {"id": folder.name, "verdict": None, "n": 1},
    ]
    line = f"1 run not counted (record.json is damaged): {folder.name}"
    assert said.err == f"harness: {line}\n"
    said = command("history", *where)
    assert json.loads(said.out)["runs"] == 1
    assert {p["run"] for t in json.loads(said.out)["trends"] for p in t["points"]} == {
        NAME.format(0)
    }
    assert line in said.err


def test_a_record_counts_in_whatever_order_its_fields_stand(tmp_path, document):
    folder = put(tmp_path, document)
    written = json.loads((folder / "record.json").read_text())
    for order in (written, dict(reversed(written.items()))):
        for more in ({}, {"cases": ["x"] * runs.END_BYTES}):
            (folder / "record.json").write_text(json.dumps(order | more, indent=1))
            assert runs.find(tmp_path).damaged == []


def test_of_a_run_and_its_copy_the_whole_one_counts(tmp_path, document):
    folder = put(tmp_path, document)
    shutil.copytree(folder, folder.with_name("a copy"))
    (folder / "record.json").write_text("")
    found = runs.find(tmp_path)
    assert [(r.id, r.judged is not None) for r in found.runs] == [("a copy", True)]
    assert found.copies == [folder.name]
    (folder.with_name("a copy") / "record.json").write_text("")
    assert len(runs.find(tmp_path).damaged) == 2


def test_the_command_that_is_named_mends_a_run_that_was_only_measured(tmp_path, command):
    store.complete(make.timed(), store.new_run_folder(tmp_path))
    words = runs.find(tmp_path).notes()[0].split("harness ")[-1].split()
    command(*words)
    assert runs.find(tmp_path).notes() == []


@pytest.mark.parametrize("where", ["folder", "record", "steps"])
def test_links_are_not_followed(tmp_path, document, where):
    real = put(tmp_path / "elsewhere", document)
    (real / "steps.parquet").write_bytes(b"PAR1 and PAR1")
    there = tmp_path / "results" / "runs" / real.name
    there.parent.mkdir(parents=True)
    if where == "folder":
        there.symlink_to(real)
    else:
        shutil.copytree(real, there)
        name = {"record": "record.json", "steps": "steps.parquet"}[where]
        (there / name).unlink()
        (there / name).symlink_to(real / name)
    found = runs.find(tmp_path / "results")
    assert [r.id for r in found.runs] == ([real.name] if where == "steps" else [])
    assert found.links == ([real.name] if where == "folder" else [])
    assert rows(tmp_path / "results", "SELECT count(*) AS n FROM steps") == [{"n": 0}]


def test_trees_merge_by_copying(tmp_path, document):
    for number in range(3):
        put(tmp_path / "here", document, number)
    for number in range(2, 5):  # one of them is in both
        put(tmp_path / "there", document, number)
    shutil.copytree(tmp_path / "there", tmp_path / "here", dirs_exist_ok=True)
    (found,) = rows(tmp_path / "here", "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM runs")
    assert found == {"n": 5, "ids": 5}


def test_a_copy_under_another_name_is_not_counted_again(tmp_path, document):
    folder = put(tmp_path, document)
    shutil.copytree(folder, folder.with_name("0 a copy"))  # first by name, and yet the copy
    found = runs.find(tmp_path)
    assert [r.id for r in found.runs] == [folder.name]
    assert found.copies == ["0 a copy"]
    assert "0 a copy" in found.notes()[0]
    shutil.rmtree(folder)
    assert [r.id for r in runs.find(tmp_path).runs] == ["0 a copy"]


def test_runs_stand_in_the_order_of_their_time(tmp_path, document):
    for number in (7, 3, 5):
        put(tmp_path, document, number)
    nameless = put(tmp_path, document, 1, name="renamed")
    text = json.loads((nameless / "verdict.json").read_text()) | {"started": "some day"}
    (nameless / "verdict.json").write_text(json.dumps(text))
    ids = [r.id for r in runs.find(tmp_path).runs]
    assert ids == ["renamed", *(NAME.format(n) for n in (3, 5, 7))]


def test_where_there_are_no_runs_a_line_says_so(tmp_path, command):
    for words in (["history"], ["query", "SELECT 1"], ["prune", "--keep", "1"]):
        said = command(*words, "--results-dir", tmp_path, ends=2)
        assert "no stored runs" in said.err


def change(value: Any, seed: int) -> Any:
    """Some JSON value in place of another."""
    others = [None, True, -1, 2**70, 1e308, "nan", "\u202e", "", [], {}, [[]], {"a": None}]
    return others[seed % len(others)] if seed else value


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_damaged_verdict_stops_the_others_or_is_counted_twice(document, data, tmp_path_factory):
    results = tmp_path_factory.mktemp("damaged")
    put(results, document)
    file = put(results, document, 1) / "verdict.json"
    whole = file.read_bytes()
    if data.draw(st.booleans()):
        plain = json.loads(whole)
        spots: list[tuple[Any, Any]] = []

        def walk(node: Any) -> None:
            for key in node if isinstance(node, dict) else range(len(node)):
                spots.append((node, key))
                if isinstance(node[key], dict | list):
                    walk(node[key])

        walk(plain)
        for place, seed in data.draw(
            st.lists(st.tuples(st.integers(0, len(spots) - 1), st.integers(0, 50)), min_size=1,
                     max_size=3)
        ):  # fmt: skip
            node, key = spots[place]
            node[key] = change(node[key], seed)
        damaged = json.dumps(plain).encode()
    else:
        at = data.draw(st.integers(0, len(whole)))
        damaged = (
            whole[:at]
            + data.draw(st.binary(max_size=8))
            + whole[at + data.draw(st.integers(0, 9)) :]
        )
    file.write_bytes(damaged)
    found = runs.find(results)
    assert [r.id for r in found.runs if r.judged is None] in ([], [NAME.format(1)])
    assert 1 <= len(found.runs) <= 2
    counted = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in query.TABLES)
    (answer,) = rows(results, f"SELECT {counted}")
    assert answer["runs"] == len(found.runs)
    entries = [e for r in found.runs if r.judged is not None for e in r.judged.backends.values()]
    assert answer["labels"] == len(entries)
    assert answer["rungs"] == sum(len(entry.rungs) for entry in entries)


def test_runs_that_come_and_go_while_they_are_read_are_there_or_not(tmp_path, document):
    settled = put(tmp_path, document, 0)
    text = json.dumps(document | {"run": None}).encode()
    stop, errors = threading.Event(), []

    def write() -> None:
        try:
            for _ in range(10_000):
                if stop.is_set():
                    return
                folder = store.new_run_folder(tmp_path)
                files.write_atomic(folder / "record.json", b"{}")
                files.write_atomic(folder / "verdict.json", text)
                shutil.rmtree(folder)
        except BaseException as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [runs.find(tmp_path) for _ in range(150)]
        asked = [rows(tmp_path, "SELECT count(*) AS n FROM runs")[0]["n"] for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    assert not errors
    assert all(n in (1, 2) for n in asked)
    for found in seen:
        assert [r.id for r in found.runs].count(settled.name) == 1
        assert next(r for r in found.runs if r.id == settled.name).judged is not None


# ---- hostile names


HOSTILE = (
    "'); DROP TABLE runs; --",
    "\"quoted\" 'twice'",
    "../../x",
    "a\nline\x1b[2J\u202e",
    "*[?",
    "100%s {} \\",
    "x" * 100_000,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_is_data(tmp_path, document, text, command):
    changed = copy.deepcopy(document)
    changed["backends"][text] = changed["backends"].pop("torch")
    changed["summary"] = changed["machine"] = text
    changed["backends"][text]["versions"] = {text: text}
    put(tmp_path, changed)
    (found,) = rows(tmp_path, "SELECT summary, machine FROM runs")
    assert found == {"summary": text, "machine": text}
    assert text in {r["label"] for r in rows(tmp_path, "SELECT label FROM labels")}
    assert {"package": text, "version": text} in rows(
        tmp_path, "SELECT package, version FROM versions"
    )
    sql = "SELECT * FROM runs JOIN labels ON id = run"
    shown = command("query", sql, "--results-dir", tmp_path).out
    assert not [c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl")]
    words = (
        "query",
        "SELECT label FROM labels ORDER BY 1",
        "--csv",
        "--results-dir",
        str(tmp_path),
    )
    read = [row[0] for row in csv.reader(io.StringIO(command(*words).out, newline=""))]
    assert read == ["label", *sorted(["numpy", text])]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs"]


@pytest.mark.parametrize(
    "text", ["a'b; --", "*", "b[1]*", "b1x", "sp ace", 'q"', "line\nfeed", "ü"]
)
@pytest.mark.parametrize("root", ["results", "r[e]s*"])
def test_whatever_a_folder_is_called_its_steps_are_its_own(tmp_path, document, text, root):
    results = tmp_path / root
    expected = {}
    for place, name in enumerate(dict.fromkeys((text, "b1x", "b1", "plain"))):
        data, expected[name] = STEPS[place]
        put(results, document, name=name, steps=data)
    assert len({*expected.values()}) == len(expected)
    found = rows(results, "SELECT run, count(*) AS n FROM steps GROUP BY 1")
    assert {r["run"]: r["n"] for r in found} == expected
    escaped = text.replace("'", "''")
    sql = f"SELECT count(*) AS n FROM steps WHERE run = '{escaped}'"
    assert rows(results, sql) == [{"n": expected[text]}]


def test_a_folder_whose_name_is_no_text_is_counted_and_stops_nothing(tmp_path, document):
    put(tmp_path, document)
    folder = os.fsencode(tmp_path / "runs") + b"/caf\xe9"
    os.mkdir(folder)
    shutil.copy(tmp_path / "runs" / NAME.format(0) / "record.json", folder + b"/record.json")
    assert {r["id"] for r in rows(tmp_path, "SELECT id FROM runs")} == {NAME.format(0), "caf�"}
    assert rows(tmp_path, "SELECT count(*) AS n FROM steps") == [{"n": 0}]


# ---- steps


@pytest.mark.parametrize("foreign", ["SELECT 1 AS other", "SELECT 'torch' AS label, 'x' AS seed"])
def test_a_table_of_something_else_leaves_the_steps_of_the_others(tmp_path, document, foreign):
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({foreign}) TO '{tmp_path / 'other'}' (FORMAT parquet)")
    put(tmp_path, document, steps=(tmp_path / "other").read_bytes())
    data, expected = STEPS[0]
    whole = put(tmp_path, document, 1, steps=data)
    sql = "SELECT count(*) AS n, sum(ns) > 0 AS timed FROM steps WHERE run = "
    (found,) = rows(tmp_path, f"{sql}'{whole.name}'")
    assert found == {"n": expected, "timed": True}


def flipped(data: bytes, *places: int) -> bytes:
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 0xFF
    return bytes(changed)


SPOILT = {
    "footer": lambda data: flipped(data, *range(-60, -12)),
    "a bit of the footer": lambda data: flipped(data, -200),
    "body": lambda data: flipped(data, *range(8, 60)),
    "length": lambda data: flipped(data, -6),
    "cut": lambda data: data[: len(data) // 2],
    "marks alone": lambda data: b"PAR1 and then it was cut PAR1",
    "empty": lambda data: b"",
    "another run's": lambda data: STEPS[3][0],
}


@pytest.mark.parametrize("what", SPOILT)
def test_damaged_steps_stop_no_query_and_are_named_once(tmp_path, document, what, command):
    made = make.timed()
    for number in range(2):
        folder = put(tmp_path, document, number)
        (folder / "record.json").unlink()
        store.write(made, folder)
    bad = put(tmp_path, document, 2, steps=STEPS[0][0])
    (bad / "steps.parquet").write_bytes(SPOILT[what](STEPS[0][0]))
    of = "arm = 0 AND phase = 'round' AND kind = 'step'"
    sql = f"SELECT label, kind, sum(ns) AS ns FROM steps WHERE {of} GROUP BY ALL"
    said = command("query", sql, "--json", "--results-dir", tmp_path)
    assert {row["label"]: int(row["ns"]) for row in json.loads(said.out)} == {
        label: 2 * sum(sum(r.step_ns) for r in results.rounds)
        for label, results in made.results.items()
    }
    assert said.err.startswith("harness: steps.parquet that cannot be asked (damaged, of another")
    assert (said.err.count("\n"), said.err.count(bad.name)) == (1, 1)
    assert command("query", "SELECT id FROM runs", "--results-dir", tmp_path).err == ""


# ---- read-only

REFUSED = {
    "two statements": "SELECT 1; SELECT 2",
    "none": "",
    "a comment": "/* nothing */",
    "copy": "COPY (SELECT 1) TO '{out}'",
    "copy a table": "COPY runs TO '{out}'",
    "attach": "ATTACH '{out}'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "set": "SET threads = 1",
    "reset": "RESET threads",
    "pragma": "PRAGMA database_list",
    "call": "CALL pragma_version()",
    "create": "CREATE TABLE t AS SELECT 1",
    "insert": "INSERT INTO runs (id) VALUES ('x')",
    "update": "UPDATE runs SET verdict = 'agree'",
    "delete": "DELETE FROM runs",
    "drop": "DROP TABLE runs",
    "export": "EXPORT DATABASE '{out}'",
    "explain": "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
    "a file": "SELECT * FROM read_text('/etc/passwd')",
    "a csv": "SELECT * FROM read_csv('/etc/passwd')",
    "a file as a table": "SELECT * FROM '/etc/passwd'",
    "steps as a file": "SELECT * FROM read_parquet('{steps}')",
    "steps as a text": "SELECT * FROM '{steps}'",
    "a folder": "SELECT * FROM glob('/etc/*')",
    "in a subquery": "SELECT (SELECT max(content) FROM read_text('/etc/passwd'))",
    "in a CTE": "WITH x AS (SELECT * FROM read_blob('/etc/passwd')) SELECT * FROM x",
    "a CTE that writes": "WITH x AS (COPY (SELECT 1) TO '{out}') SELECT * FROM x",
    "a CTE that writes over steps": (
        "WITH x AS (COPY (SELECT 1) TO '{steps}' (FORMAT parquet, USE_TMP_FILE false)) "
        "SELECT * FROM x, steps"
    ),
    "a CTE that inserts": "WITH x AS (INSERT INTO runs (id) VALUES ('x') RETURNING *) FROM x",
    "SQL as a text": "SELECT * FROM query('SELECT 1')",
    "SQL as a tree": (
        "SELECT * FROM json_execute_serialized_sql(json_serialize_sql("
        "'WITH x AS (COPY (SELECT 1) TO ''{steps}'' (FORMAT parquet, USE_TMP_FILE false)) "
        "SELECT * FROM x'))"
    ),
    "a syntax error": "SELEC * FROM runs",
    "no such table": "SELECT * FROM nothing",
    "no such column": "SELECT nothing FROM runs",
    "a variable of ours": "SELECT * FROM leaked",
    "no number": "SELECT id::INTEGER FROM runs",
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_query_is_refused_and_touches_nothing(
    tmp_path, document, what, monkeypatch, command
):
    folder = put(tmp_path, document, steps=STEPS[0][0])
    before = tree(tmp_path)
    sql = REFUSED[what].format(out=folder / "out.csv", steps=folder / "steps.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(query, "leaked", {"a": np.arange(3)}, raising=False)
    said = command("query", sql, "--results-dir", tmp_path, ends=2)
    assert said.err.startswith("harness: query: ")
    assert "Traceback" not in said.err
    assert tree(tmp_path) == before


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


ALLOWED = (
    "SELECT 1;",
    "FROM runs",
    "VALUES (1), (2)",
    "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 4) SELECT * FROM r",
    "SELECT * FROM range(3) r(i), LATERAL (SELECT i + 1)",
    "SELECT run, label, unnest([1, 2]) FROM labels ORDER BY ALL",
    "SUMMARIZE rungs",
    "PIVOT rungs ON rung IN ('forward', 'loss') USING max(share) GROUP BY run, label",
    "SELECT * FROM runs WHERE summary LIKE '%COPY%' OR summary = 'INSERT INTO'",
    "SELECT median(ns) FROM steps WHERE kind = 'step' AND phase = 'round'",
)


@pytest.mark.parametrize("sql", ALLOWED)
def test_whatever_only_reads_is_answered(tmp_path, document, sql):
    put(tmp_path, document, steps=STEPS[0][0])
    assert isinstance(rows(tmp_path, sql), list)


@pytest.mark.parametrize(
    ("sql", "limit", "value", "said"),
    [
        ("SELECT count(*) FROM range(100_000_000_000_000)", "MOST_S", 0.3, "more than 0.3 s"),
        ("SELECT list(i) FROM range(100_000_000) r(i)", "MEMORY_LIMIT", "30MB", "Out of Memory"),
    ],
)
def test_a_query_ends_within_its_time_and_memory(tmp_path, sql, limit, value, said, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(query, limit, value)
    with pytest.raises(InputError, match=f"^query: .*{said}"):
        rows(tmp_path, sql)
    assert threading.active_count() == 1


# A query that takes hours, and where it is: in a product, in a sort, in one long text.
ENDLESS = {
    "product": "SELECT count(*) FROM range(10000000) r(a), range(1000000) s(b) WHERE a + b = 3",
    "hashes": "SELECT count(*) FROM range(10000000) r(a), range(99999) s(b) WHERE hash(a + b) = 3",
    "rows": "SELECT * FROM range(10000000) r(a), range(1000000) s(b)",
}


@contextlib.contextmanager
def asked(results: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "harness", "query", *words, "--results-dir", str(results)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("what", "form"), [*((w, "--json") for w in ENDLESS), ("rows", "--csv")])
def test_ctrl_c_ends_a_query_at_once(tmp_path, what, form):
    (tmp_path / "runs").mkdir()
    with asked(tmp_path, ENDLESS[what], form) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - begun < 5
        assert (process.returncode, "mistake" in err, "Traceback" in err) == (130, False, False)


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_a_reader_that_goes_away_ends_a_query_quietly(tmp_path, form):
    (tmp_path / "runs").mkdir()
    with asked(tmp_path, ENDLESS["rows"], form) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    "sql", ["SELECT '\udcff'", 'SELECT 1 AS "\udcff"', "SELECT \udc80", "\x00"]
)
def test_bytes_that_are_no_text_are_refused_in_one_line(tmp_path, sql, command):
    (tmp_path / "runs").mkdir()
    for form in ((), ("--json",), ("--csv",)):
        command("query", sql, *form, "--results-dir", tmp_path, ends=2)


def test_a_store_in_a_folder_whose_name_is_no_text_is_read(tmp_path, document, command):
    results = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    put(results, document, steps=STEPS[0][0])
    said = command("query", "SELECT count(*) AS n FROM runs", "--json", "--results-dir", results)
    assert (json.loads(said.out), said.err) == ([{"n": 1}], "")
    said = command("query", "SELECT count(*) AS n FROM steps", "--json", "--results-dir", results)
    assert json.loads(said.out) == [{"n": 0}]
    assert "its path is no text), left out: 20260102" in said.err


def test_a_process_ends_well_after_its_answer(tmp_path, document):
    put(tmp_path, document)
    for _ in range(3):
        ended = harness("query", "FROM runs", "--json", "--results-dir", ".", cwd=tmp_path)
        assert (ended.returncode, ended.stderr) == (0, "")


# ---- the verb


def test_json_is_one_document_csv_one_table_and_a_limit_is_kept(tmp_path, document, command):
    put(tmp_path, document)
    where = ("--results-dir", str(tmp_path))
    sql = "SELECT i, i % 2 = 0 AS even, [i, NULL] AS both FROM range(250) r(i) ORDER BY i"
    found = json.loads(command("query", sql, "--json", *where).out)
    assert found == [{"i": i, "even": i % 2 == 0, "both": [i, None]} for i in range(250)]
    assert len(json.loads(command("query", sql, "--json", "--limit", "3", *where).out)) == 3
    table = [*csv.reader(io.StringIO(command("query", sql, "--csv", *where).out))]
    assert table[0] == ["i", "even", "both"]
    assert table[3] == ["2", "true", "[2, null]"]
    assert len(table) == 251
    said = command("query", sql, *where)
    assert " 99 " in said.out
    assert " 100 " not in said.out
    assert "the first 100 rows" in said.err
    assert "no rows" in command("query", "SELECT * FROM runs WHERE false", *where).out


def test_json_with_two_columns_of_one_name_is_refused(tmp_path, document, command):
    put(tmp_path, document)
    words = ("query", "SELECT 1 AS a, 2 AS a", "--json", "--results-dir", str(tmp_path))
    command(*words, ends=2)


def test_the_schema_is_printed_without_any_run(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    assert "limit_value" in command("query", "--schema").out
    assert (
        json.loads(command("query", "--schema", "--json").out)["runs"]["started"]["type"]
        == "TIMESTAMP"
    )
    command("query", ends=2)


# ---- times


@given(st.integers(0, 9999), st.sampled_from("hdw"))
def test_an_age_is_a_number_and_a_unit(number, unit):
    hours = {"h": 1, "d": 24, "w": 168}[unit] * number
    assert runs.age("--x", f"{number}{unit}") == timedelta(hours=hours)
    assert isinstance(datetime.now(UTC) - runs.age("--x", f"{number}{unit}"), datetime)


@given(st.text(max_size=8) | st.from_regex(r"-?[0-9٣]{0,6}\.?[0-9]?[hdwmys ]?\n?", fullmatch=True))
def test_no_other_text_is_an_age(text):
    good = 2 <= len(text) <= 5 and text[-1] in "hdw" and all(c in "0123456789" for c in text[:-1])
    if good:
        runs.age("--x", text)
    else:
        with pytest.raises(InputError, match="expected hours, days or weeks"):
            runs.age("--x", text)


@given(st.text(max_size=30))
def test_any_text_is_a_moment_or_none(text):
    found = runs.moment(text)
    assert found is None or found.tzinfo is UTC


@given(st.datetimes(min_value=naive(1, 1, 3), max_value=naive(9999, 12, 29)))
def test_a_moment_reads_back_in_any_zone(at):
    utc = at.replace(tzinfo=UTC)
    assert runs.moment(utc.isoformat()) == utc
    assert runs.moment(at.isoformat()) == utc
    assert runs.moment(f"{(at + timedelta(hours=2)).isoformat()}+02:00") == utc
