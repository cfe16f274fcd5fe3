"""A record is read whole or refused in one line; a file is written whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
from collections import namedtuple
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import files
from harness.errors import HarnessError, InputError
from harness.record import schema, store
from harness.record.schema import Number, Record, Worst
from tests import make, pages

# -- round trip ------------------------------------------------------------------------------

numbers: st.SearchStrategy[Number] = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["nan", "inf", "-inf"])
)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
naturals = st.integers(0, 2**62)


@given(st.data())
def test_a_record_is_the_same_after_it_was_stored(data: st.DataObject) -> None:
    norms = st.dictionaries(texts, numbers, max_size=3)
    floats, times = st.lists(numbers, max_size=4), st.lists(naturals, max_size=4)
    found = st.builds(
        make.measurement,
        rung=texts,
        case=texts,
        step=st.none() | naturals,
        distance=st.none() | numbers,
        problem=st.none() | texts,
        worst=st.none()
        | st.builds(Worst, index=st.lists(naturals), got=numbers, want=numbers, in_rms=numbers),
        want_norm=numbers,
        beside=norms,
    )
    series = dict.fromkeys(("losses", "epoch_losses", "test_accuracy"), floats)
    series |= dict.fromkeys(("rows", "step_ns", "epoch_ns", "eval_ns"), times)
    trained = st.builds(make.training, final_norms=norms, **series)
    kept = {"measurements": data.draw(st.lists(found, max_size=3))}
    kept["training"] = data.draw(st.lists(trained, max_size=2))
    made = make.record(results={"numpy": make.results("numpy", **kept)})
    stored = store.encode(made)
    assert store.decode(stored, "made") == made
    json.loads(stored, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_record_is_written_and_read_from_its_folder_and_from_its_file(tmp_path: Path) -> None:
    made = make.record()
    path = store.write(made, tmp_path)
    assert path == tmp_path / "record.json"
    assert store.read(tmp_path) == made == store.read(path)
    assert sorted(os.listdir(tmp_path)) == ["record.json", "steps.parquet"]
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o644}


@given(st.floats())
def test_a_number_is_stored_as_itself_or_as_its_name(value: float) -> None:
    stored = schema.number(value)
    if math.isfinite(value):
        assert stored == value
    else:
        assert isinstance(stored, str)
        back = float(stored)
        assert back == value or (math.isnan(back) and math.isnan(value))


def test_text_that_utf8_cannot_hold_is_an_error_in_one_line(tmp_path: Path) -> None:
    # A --data-dir whose name is not UTF-8 arrives like this.
    made = make.record(plan=make.plan(data_dir="/data/\udcff"))
    with pytest.raises(HarnessError) as caught:
        store.write(made, tmp_path)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


# -- strict reading --------------------------------------------------------------------------


def refusal(read: Callable[[], Any], name: str) -> str:
    """The message of the refusal: one line that names the file."""
    with pytest.raises(InputError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    assert name in message
    assert caught.value.exit_status == 2
    return message


def small() -> Record:
    return make.record(
        ("numpy",),
        results={"numpy": make.results("numpy", measurements=[make.measurement()], rounds=[])},
    )


def test_a_record_cut_off_at_any_byte_is_refused() -> None:
    data = store.encode(small())
    assert store.decode(data, "whole") == small()
    for length in range(len(data)):
        with pytest.raises(InputError, match="record cut: not a whole record"):
            store.decode(data[:length], "cut")


def test_bytes_after_the_end_of_a_record_are_refused() -> None:
    refusal(lambda: store.decode(store.encode(small()) + b"{}", "name"), "record name")


def objects(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every object with fixed fields inside plain data."""
    free = {"labels", "sizes", "skipped", "machine", "results", "facts", "first_step_ns"}
    free |= {"environment", "numbers", "brought"}
    free |= {"final_norms", "beside", "again", "gradient_norms", "path"}
    found: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        if not path or path[-1] not in free:
            found.append(path)
        for key, inner in value.items():
            found += objects(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += objects(inner, (*path, index))
    return found


def plain() -> Any:
    made = msgspec.to_builtins(small())
    made["results"]["numpy"]["rounds"] = msgspec.to_builtins(make.rounds(number=1))
    made["again"] = {"numpy": {"rounds": msgspec.to_builtins(make.rounds(number=1))}}
    made["roofs"] = [{"label": "numpy", "dtype": "float32", "size": 64, "flop_per_s": 1e11}]
    made["samples"] = {"rows": 0, "numbers": 0, "sha256": "00"}
    return made


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


LEVELS = objects(plain())


def test_the_levels_of_a_record_are_all_tried() -> None:
    names = {str(path[-1]) for path in LEVELS if path and isinstance(path[-1], str)}
    assert names >= {"plan", "workload", "timing", "timeouts", "dataset", "numpy", "worst"}
    assert ("again", "numpy", "rounds", 0) in LEVELS
    assert {("again", "numpy"), ("roofs", 0), ("samples",)} <= {*LEVELS}
    assert any("rounds" in path for path in LEVELS)
    assert any("training" in path for path in LEVELS)
    assert any("processes" in path for path in LEVELS)


@pytest.mark.parametrize("path", LEVELS, ids=lambda path: ".".join(map(str, path)) or "record")
def test_an_unknown_field_is_refused_and_named_at_every_level(path: tuple[Any, ...]) -> None:
    made = plain()
    at(made, path)["surprise"] = 1
    message = refusal(lambda: store.decode(json.dumps(made).encode(), "a.json"), "a.json")
    assert "surprise" in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("run",), 7),
        (("seconds",), "12"),
        (("results",), []),
        (("plan", "threads"), 2.5),
        (("plan", "seeds"), "0"),
        (("dataset", "synthetic"), 0),
        (("results", "numpy", "measurements", 0, "distance"), "NaN"),
        (("results", "numpy", "measurements", 0, "distance"), "infinity"),
        (("results", "numpy", "measurements", 0, "want_norm"), None),
        (("results", "numpy", "measurements", 0, "step"), "0"),
        (("results", "numpy", "processes", 0, "status"), "good"),
        (("results", "numpy", "training", 0, "losses"), [None]),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(
    path: tuple[Any, ...], value: Any
) -> None:
    made = plain()
    at(made, path[:-1])[path[-1]] = value
    message = refusal(lambda: store.decode(json.dumps(made).encode(), "a.json"), "a.json")
    assert f".{path[-1]}" in message


@pytest.mark.parametrize("path", LEVELS, ids=lambda path: ".".join(map(str, path)) or "record")
def test_an_object_where_fields_are_missing_is_refused_or_has_only_defaults(
    path: tuple[Any, ...],
) -> None:
    made = plain()
    emptied = at(made, path)
    if set(path) & {"timeouts"} or path in {("results", "numpy"), ("again", "numpy")}:
        emptied.clear()
        assert store.decode(json.dumps(made).encode(), "a.json")
        return
    emptied.clear()
    refusal(lambda: store.decode(json.dumps(made).encode(), "a.json"), "a.json")


@pytest.mark.parametrize(
    ("schema", "says"),
    [(schema.SCHEMA + 1, "newer"), (10**6, "newer"),
     (schema.SCHEMA - 1, "older harness"), (-1, "measure again"),
     ("1", "not a whole record"), (1.5, "not a whole record"), (None, "not a whole record"),
     (10**40, "newer")],
)  # fmt: skip
def test_another_schema_is_refused_even_with_fields_nobody_knows(schema: Any, says: str) -> None:
    data = json.dumps(plain() | {"schema": schema, "from the future": []}).encode()
    assert says in refusal(lambda: store.decode(data, "a.json"), "a.json")


@pytest.mark.parametrize("exponent", [-1, 65, 10**9])
def test_a_power_that_is_none_or_would_take_for_ever_is_refused(exponent: int) -> None:
    """It is made by repeated multiplication, and a report draws the function."""
    told = json.loads(store.encode(pages.tiny("himmelblau", (3.0, 2.0))))
    store.decode(json.dumps(told).encode(), "record.json")
    told["plan"]["net"]["layers"][1]["sums"][0][0][1][0] = exponent
    with pytest.raises(InputError, match=r"Expected `int` [<>]= \d+ - at `\$.plan.net.layers"):
        store.decode(json.dumps(told).encode(), "record.json")


def test_a_pipe_in_the_place_of_a_record_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(InputError, match="not a file"):
        store.read(tmp_path)


NOT_RECORDS = {
    "empty": b"",
    "blank": b" \n",
    "text": b"hello",
    "null": b"null",
    "list": b"[1, 2]",
    "empty object": b"{}",
    "only the schema": b'{"schema":2}',
    "not UTF-8": b'{"schema":2,"run":"\xff\xfe"}',
    "binary": bytes(range(256)),
    "NaN": b'{"schema":2,"seconds":NaN}',
    "number out of range": b'{"schema":2,"seconds":1e999}',
    "half a surrogate": b'{"schema":2,"run":"\\ud800"}',
    "nested without end": b'{"schema":2,"run":' + b"[" * 100_000,
    "nested, head": b'{"schema":' + b"[" * 100_000,
}


@pytest.mark.parametrize("what", NOT_RECORDS)
def test_what_is_no_record_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(NOT_RECORDS[what])
    refusal(lambda: store.read(tmp_path), str(path))


def test_a_missing_record_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(lambda: store.read(tmp_path), "record.json")
    refusal(lambda: store.read(tmp_path / "nowhere"), str(tmp_path / "nowhere"))


@pytest.mark.parametrize("arm", ["results", "again"])
def test_results_of_a_label_that_the_plan_does_not_have_are_refused(arm: str) -> None:
    made = plain()
    made[arm]["stranger"] = made["results"]["numpy"]
    message = refusal(lambda: store.decode(json.dumps(made).encode(), "a.json"), "a.json")
    assert "stranger" in message


# -- atomic writing --------------------------------------------------------------------------


def no_space(*_args: Any, **_named: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_whole_and_nothing_beside_it(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"old and whole")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, no_space)
        message = refusal(lambda: files.write_atomic(path, b"new" * 1000), str(path))
    assert "No space left on device" in message
    assert "--results-dir" in message
    assert path.read_bytes() == b"old and whole"
    assert os.listdir(tmp_path) == ["record.json"]


def test_an_interrupted_write_leaves_the_old_file_whole_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_handle: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "record.json"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["record.json"]


def test_a_file_is_written_to_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("replace"), replace(a, b))[1])
    files.write_atomic(tmp_path / "f", b"new")
    assert done == ["fsync", "replace", "fsync"]
    assert (tmp_path / "f").read_bytes() == b"new"


def test_a_write_into_a_folder_that_is_gone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "record.json"
    message = refusal(lambda: files.write_atomic(path, b"new"), str(path))
    assert "No such file or directory" in message
    assert "free some space" not in message


# -- where runs are stored -------------------------------------------------------------------


def test_a_folder_that_is_there_or_can_be_made_is_accepted_and_nothing_is_made(
    tmp_path: Path,
) -> None:
    store.check_folder(tmp_path)
    store.check_folder(tmp_path / "a" / "b")
    assert os.listdir(tmp_path) == []


def test_a_path_under_a_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "results"):
        assert "is not a directory" in refusal(partial(store.check_folder, path), str(path))
        refusal(partial(store.new_run_folder, path), str(path))


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    message = refusal(lambda: store.check_folder(tmp_path / "results"), str(tmp_path / "results"))
    assert "is not writable" in message


def test_a_disk_with_little_space_is_refused_with_the_amounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 7_000_000))
    message = refusal(lambda: store.check_folder(tmp_path), str(tmp_path))
    assert "7 MB free, 50 MB needed" in message


def test_a_name_too_long_for_the_file_system_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)

    def make_there() -> None:
        store.check_folder(path)
        store.new_run_folder(path)

    refusal(make_there, str(path))


def test_a_folder_that_may_not_be_looked_into_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may look anywhere: the system's answer to another user is planted here.
    closed = tmp_path / "closed"
    closed.mkdir()
    stat, access = os.stat, os.access

    def refuse_inside(path: Any, *args: Any, **named: Any) -> os.stat_result:
        if not isinstance(path, int) and Path(path).parent == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse_inside)
        patch.setattr(os, "access", lambda path, mode: Path(path) != closed and access(path, mode))
        refusal(lambda: store.check_folder(closed / "results"), str(closed / "results"))


def test_two_hundred_run_folders_are_all_distinct(tmp_path: Path) -> None:
    folders = {store.new_run_folder(tmp_path) for _ in range(200)}
    assert len(folders) == 200
    assert {folder.parent for folder in folders} == {tmp_path / "runs"}
    assert all(folder.is_dir() for folder in folders)


def test_a_run_folder_whose_name_is_taken_gets_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda *_args: "20260101T000000")
    drawn = iter(["abcdef", "abcdef", "123456"])
    monkeypatch.setattr(secrets, "token_hex", lambda _n: next(drawn))
    first, second = store.new_run_folder(tmp_path), store.new_run_folder(tmp_path)
    assert first != second
