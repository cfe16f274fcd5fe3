"""Baselines: what they keep, whom they accuse, and what it takes."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.files import write_document
from harness.record import schema, store
from harness.record.facts import machine_key, machine_name
from harness.results import baseline as baselines
from harness.verdict.verdict import judge
from tests import make


def of(record, **changes):
    """The baseline that a record gives, with fields of it replaced."""
    made = baselines.make(record, judge(record))
    return msgspec.structs.replace(made, **changes)


def slowed(record, label, factor):
    """The same record with the steps of one label longer."""
    changed = msgspec.convert(msgspec.to_builtins(record), schema.Record)
    for r in changed.results[label].rounds:
        r.step_ns = [round(ns * factor) for ns in r.step_ns]
        r.burst_ns = [round(ns * factor) for ns in r.burst_ns]
    return changed


def sped(record, factor):
    """The same record on a machine that is slower as a whole."""
    changed = msgspec.convert(msgspec.to_builtins(record), schema.Record)
    for results in [*changed.results.values(), *changed.again.values()]:
        for r in results.rounds:
            for name in ("step_ns", "products_ns", "burst_ns", "gather_ns", "put_ns"):
                setattr(r, name, [round(ns * factor) for ns in getattr(r, name)])
    return changed


CLEAN = make.timed(("numpy", "torch"))
CLEAN.machine = {
    "system": "Linux 6.1",
    "architecture": "x86_64",
    "processor": "Some Processor @ 3 GHz",
    "processors": "2",
    "python": "3.11.7",
}


def test_a_baseline_keeps_each_label_that_agrees_with_one_log_a_session():
    made = of(CLEAN)
    assert made.labels.keys() == {"numpy", "torch"}
    numpy = made.labels["numpy"]
    assert numpy.unit == "floor"
    assert len(numpy.logs) == len(numpy.step_ns) == 5
    # Steps of about 1 ms over products of 705 microseconds.
    assert [math.exp(log) for log in numpy.logs] == pytest.approx([1e6 / 705e3] * 5, rel=0.01)


def test_a_label_whose_numbers_disagree_is_no_baseline():
    record = msgspec.convert(msgspec.to_builtins(CLEAN), schema.Record)
    record.results["torch"].measurements[5].distance = 1.0
    assert of(record).labels.keys() == {"numpy"}


def test_a_label_whose_times_are_void_is_no_baseline():
    record = slowed(CLEAN, "torch", 0.3)  # faster than its own products
    assert of(record).labels.keys() == {"numpy"}


def test_a_label_whose_step_takes_less_than_20_us_is_no_baseline_and_compared_with_none():
    short = make.lasting(numpy=25, torch=19)
    assert of(short).labels.keys() == {"numpy"}
    long = make.lasting(numpy=25, torch=25)
    assert outcome(long, baseline=long) == "same"
    assert outcome(short, baseline=long) == outcome(long, baseline=short) == "not compared"
    with pytest.raises(InputError, match="no label has times that can be compared"):
        of(make.lasting(numpy=19, torch=19))


def test_four_sessions_are_too_few():
    record = make.timed(("numpy",), number=4)
    with pytest.raises(InputError, match="4 timing sessions, and a baseline needs 5"):
        of(record)
    with pytest.raises(InputError, match="1 timing session, and"):
        of(make.timed(("numpy",), number=1))


def test_a_run_that_was_interrupted_is_no_baseline():
    record = msgspec.structs.replace(CLEAN, ended="interrupted")
    with pytest.raises(InputError, match="not finished"):
        of(record)


def outcome(*records, label="torch", baseline=CLEAN):
    return baselines.compare(of(baseline), [*records])[label].outcome


def test_the_same_again_is_the_same():
    assert outcome(CLEAN) == "same"


def test_slower_by_a_fifth_is_suspected_once_and_a_regression_when_confirmed():
    slow = slowed(CLEAN, "torch", 1.2)
    assert outcome(slow) == "slower"
    assert outcome(slow, slow) == "regression"
    assert outcome(slow, CLEAN) == "inconclusive"


def test_a_regression_of_one_label_accuses_no_other():
    slow = slowed(CLEAN, "torch", 1.2)
    assert outcome(slow, slow, label="numpy") == "same"


def test_below_the_factor_nothing_is_a_regression():
    slow = slowed(CLEAN, "torch", 1.08)
    assert outcome(slow, slow) in ("same", "inconclusive")


def test_faster_is_said():
    assert outcome(slowed(CLEAN, "torch", 0.8)) == "faster"


def test_a_machine_that_is_slower_as_a_whole_accuses_nobody():
    assert outcome(sped(CLEAN, 1.5), sped(CLEAN, 1.5)) == "same"


def test_without_the_control_arm_the_steps_themselves_are_compared():
    alone = make.timed(("torch",))
    assert of(alone).labels["torch"].unit == "ns"
    slow = sped(alone, 1.5)
    assert outcome(slow, slow, baseline=alone) == "regression"


def test_a_label_that_does_not_hold_today_is_not_compared():
    record = msgspec.convert(msgspec.to_builtins(CLEAN), schema.Record)
    record.results["torch"].measurements[5].distance = 1.0
    assert outcome(record) == "not compared"
    other = msgspec.structs.replace(make.timed(("numpy", "jax")), machine=CLEAN.machine)
    assert outcome(other, label="jax") == "not compared"


def test_another_variant_is_not_compared():
    record = msgspec.convert(msgspec.to_builtins(CLEAN), schema.Record)
    labels = record.plan.labels | {"torch": make.label("torch", variant="compile")}
    record.plan = msgspec.structs.replace(record.plan, labels=labels)
    found = baselines.compare(of(CLEAN), [record])["torch"]
    assert found.outcome == "not compared"
    assert found.reason == "variant was eager, is compile"


def test_another_machine_is_refused_in_one_line():
    other = of(CLEAN, machine={"processor": "another"})
    with pytest.raises(InputError, match="another machine") as refused:
        baselines.compare(other, [CLEAN])
    assert "\n" not in str(refused.value)


def test_what_changed_around_it_is_named():
    record = msgspec.convert(msgspec.to_builtins(CLEAN), schema.Record)
    record.results["torch"].processes[0].facts = {"version:torch": "3.0", "python": "3.11"}
    record.machine = record.machine | {"system": "Linux 7.1"}  # the kernel is no part of the key
    before = of(CLEAN)
    before.labels["torch"].environment = {"version:torch": "2.13", "python": "3.11"}
    found = baselines.compare(before, [record])
    assert found["torch"].environment["version:torch"] == ["2.13", "3.0"]
    assert "kernel" in found["numpy"].environment
    text = baselines.as_text(found, before, path="here.json")
    assert "changed: version:torch: 2.13 → 3.0" in text


def test_the_key_is_made_of_stable_facts_only():
    record = msgspec.convert(msgspec.to_builtins(CLEAN), schema.Record)
    name = machine_name(machine_key(record))
    record.machine = record.machine | {"python": "3.99", "numpy": "9"}
    record.machine["system"] = "Linux 99.0"
    assert machine_name(machine_key(record)) == name
    record.machine["processor"] = "another"
    assert machine_name(machine_key(record)) != name


@given(st.text(max_size=40))
def test_a_file_name_is_one_harmless_name(processor):
    name = machine_name({"processor": processor, "processors": "2"})
    assert name.isascii()
    assert "/" not in name
    assert len(name) < 80


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "deep" / "here.json"
    made = of(CLEAN)
    write_document(path, made)
    assert baselines.read(path) == made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], "not a whole baseline"),
        (lambda text: text.replace('"schema": 1', '"schema": 9'), "schema 9"),
        (lambda text: text.replace('"machine"', '"colour"'), "not a whole baseline"),
        (lambda text: "", "not a whole baseline"),
    ],
)
def test_a_spoilt_baseline_is_refused_in_one_line(tmp_path, change, said):
    path = tmp_path / "here.json"
    write_document(path, of(CLEAN))
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=said) as refused:
        baselines.read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("bad", [{"logs": []}, {"step_ns": [0.0] * 5}, {"logs": [1e9] * 5}])
def test_times_that_cannot_be_are_refused(tmp_path, bad):
    made = of(CLEAN)
    made.labels["numpy"] = msgspec.structs.replace(made.labels["numpy"], **bad)
    path = tmp_path / "here.json"
    write_document(path, made)
    with pytest.raises(InputError, match="numpy has"):
        baselines.read(path)


def stored(record, folder):
    folder.mkdir()
    store.write(record, folder)
    return str(folder)


def test_the_commands_save_and_check_stored_runs(tmp_path, command):
    clean = stored(CLEAN, tmp_path / "clean")
    slow = stored(slowed(CLEAN, "torch", 1.2), tmp_path / "slow")
    where = ("--results-dir", tmp_path)
    # Without a baseline it is said how to make one.
    assert "harness baseline save" in command("baseline", "check", clean, *where, ends=2).err
    said = command("baseline", "save", clean, *where, "--json")
    assert json.loads(said.out)["labels"] == ["numpy", "torch"]
    command("baseline", "check", clean, *where)
    assert "slower" in command("baseline", "check", slow, *where).out
    command("baseline", "check", slow, *where, "--strict", ends=1)
    said = command("baseline", "check", slow, slow, *where, "--json", ends=1)
    assert json.loads(said.out)["labels"]["torch"]["outcome"] == "regression"


def test_a_baseline_is_the_fifth_part_of_the_verdict(tmp_path, command):
    path = tmp_path / "here.json"
    write_document(path, of(CLEAN))
    slow = stored(slowed(CLEAN, "torch", 1.2), tmp_path / "slow")
    out = command("check", slow, "--baseline", path, "--json").out
    parts = json.loads(out)["backends"]["torch"]["rungs"]["timing"]["parts"]
    part = next(p for p in parts if p["name"] == "baseline")
    assert part["verdict"] == "inconclusive"
    assert "a second measurement must confirm it" in part["sentence"]
