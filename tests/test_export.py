"""Exports hold the record's numbers, leave out what may not be shown, and read in real tools.

Every number is compared with one computed here from the record's own lists.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import junitparser
import msgspec
import pandas as pd
import pyperf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.options import FormatName
from harness.errors import InputError
from harness.export import FORMATS, Exported, export
from harness.export.shown import LONGEST_TEXT, Run, distinct, file_names
from harness.plan.model import Expected
from harness.record import store
from harness.record.schema import KnownAnswer, Record
from harness.verdict.finding import void_part
from harness.verdict.timing import own_parts
from harness.verdict.timings import session_medians
from harness.verdict.verdict import judge
from harness.workloads.reference.limits import RUNGS
from tests import make
from tests.test_report import HOSTILE, hostile

FILES = [name for name, made in FORMATS.items() if made.target == "file"]


def exported(name: str, *records: Record, out: Path | None = None) -> Exported:
    return export(name, [Run(made, judge(made), Path("runs/x")) for made in records], out)


def text(name: str, *records: Record) -> str:
    told = exported(name, *records).text
    assert told is not None
    return told


def disagreeing() -> Record:
    """Three labels in five sessions; torch's gradients are off."""
    made = make.timed(("numpy", "torch", "jax"))
    make.find(made, "torch", "gradients", step=10).distance = 0.125
    return made


def void() -> Record:
    """As `timed`, but torch's replay ends elsewhere: its times are void."""
    made = make.timed(("numpy", "torch", "jax"))
    replayed = next(r for r in made.results["torch"].rounds if r.replayed is not None)
    replayed.replayed = "another digest"
    assert void_part(own_parts("torch", made)) is not None
    return made


def steady_ns(made: Record, label: str, session: int | None = None) -> list[int]:
    """Every steady sample, read off the record's rounds."""
    return [
        ns
        for r in made.results[label].rounds
        if r.round >= made.plan.timing.warmup_rounds and session in (None, r.session)
        for ns in r.step_ns
    ]


# --- pyperf ---


def suite(*records: Record) -> pyperf.BenchmarkSuite:
    return pyperf.BenchmarkSuite.loads(text("pyperf", *records))


def test_pyperfs_medians_are_the_records_to_the_nanosecond():
    made = make.timed(("numpy", "torch", "jax"))
    found = suite(made)
    assert found.get_benchmark_names() == [
        f"mlp-scratch/step/{name}" for name in ("numpy", "torch", "jax")
    ]
    for name, benchmark in zip(made.results, found.get_benchmarks(), strict=True):
        whole = statistics.median(steady_ns(made, name))
        assert round(benchmark.median() * 1e9) == whole
        assert benchmark.get_nrun() == 5
        sessions = session_medians(made, made.results[name])
        for session, run in enumerate(benchmark.get_runs()):
            assert [round(v * 1e9) for v in run.values] == steady_ns(made, name, session)
            assert statistics.median(run.values) * 1e9 == pytest.approx(sessions[session], abs=0.01)
    # The three are not the same, so a mistaken label would show.
    assert len({benchmark.median() for benchmark in found}) == 3


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=9))
def test_any_time_above_zero_reaches_pyperf_unchanged(step_ns):
    made = make.record(("numpy",))
    for r in made.results["numpy"].rounds:
        r.step_ns, r.products_ns = step_ns, [1]  # no step is faster than its products
    benchmark = suite(made).get_benchmarks()[0]
    assert {round(v * 1e9) for v in benchmark.get_values()} == set(step_ns)
    assert benchmark.median() * 1e9 == pytest.approx(statistics.median(step_ns), abs=0.6)


def test_warm_up_steps_are_pyperfs_warmups():
    made = make.timed(("numpy",))
    runs = suite(made).get_benchmarks()[0].get_runs()
    assert made.plan.timing.warmup_rounds == 1
    for session, run in enumerate(runs):
        rounds = [r for r in made.results["numpy"].rounds if r.session == session]
        # The first round is warm-up as a whole; of the others their first steps are.
        want = [*rounds[0].warmup_ns, *rounds[0].step_ns, *(r.warmup_ns[0] for r in rounds[1:])]
        assert [round(value * 1e9) for _, value in run.warmups] == want


def test_pyperf_knows_machine_versions_and_how_a_value_was_made():
    made = make.timed(("numpy",))
    made.machine = {"processor": " A Processor\n9000", "processors": "64", "system": "Linux 6"}
    for r in made.results["numpy"].rounds:
        r.at_once = 4
    benchmark = suite(made).get_benchmarks()[0]
    told = benchmark.get_metadata()
    assert told["cpu_model_name"] == "A Processor 9000"
    assert told["cpu_count"] == 64
    assert (told["unit"], told["loops"], told["inner_loops"]) == ("second", 1, 4)
    assert (told["dtype"], told["variant"], told["agreement"]) == ("float32", "eager", "agree")
    assert (told["numpy_version"], told["python_version"]) == ("2.4.6", "3.11.2")
    assert benchmark.get_runs()[0].get_metadata()["mem_max_rss"] == 10**8


def left_out(made: Exported) -> dict[str, str]:
    return {left.what: left.reason for left in made.left_out}


@pytest.mark.parametrize("name", ["pyperf", "github-action-benchmark"])
@pytest.mark.parametrize(
    ("make_it", "why"), [(disagreeing, "do not agree"), (void, "the times are void")]
)
def test_a_time_without_agreement_is_left_out_and_named(name, make_it, why):
    made = exported(name, make_it())
    assert left_out(made) == {"the times of torch": f"NOT RANKED: {why}"}
    assert made.text is not None
    assert "/jax" in made.text
    assert "/torch" not in made.text


def test_failed_and_untimed_labels_are_left_out_and_named():
    made = make.timed(("numpy", "torch", "jax", "tensorflow"))
    made.results["torch"].processes[-1].status = "failed"
    made.results["torch"].processes[-1].reason = "out of memory"
    made.results["jax"].rounds = []
    make.skip(made, "tensorflow")
    told = left_out(exported("pyperf", made))
    assert told["the times of torch"] == "failed: out of memory"
    assert told["the times of jax"] == "not timed"
    assert told["the times of tensorflow"].startswith("skipped: ")
    assert "the times of numpy" not in told


@pytest.mark.parametrize("ns", [0, -5])
def test_a_time_that_pyperf_refuses_leaves_its_label_out(ns):
    made = make.timed(("numpy", "torch"))
    made.results["torch"].rounds[-1].step_ns[0] = ns
    told = exported("pyperf", made)
    assert [left.what for left in told.left_out] == ["the times of torch"]
    assert len(suite(made).get_benchmarks()) == 1
    del made.plan.labels["numpy"], made.results["numpy"], made.again["numpy"]
    with pytest.raises(InputError, match=r"no label has times"):
        exported("pyperf", made)


@pytest.mark.parametrize("name", ["pyperf", "github-action-benchmark"])
def test_a_run_in_which_nothing_agrees_exports_no_time(name):
    made = make.record(("torch",))
    make.find(made, "torch", "gradients").distance = 1.0
    with pytest.raises(InputError, match=r"no time may be shown .*torch: NOT RANKED"):
        exported(name, made)


def run_pyperf(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pyperf", *words],
        cwd=cwd, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_real_pyperf_shows_and_compares_two_exports(tmp_path):
    before, after = make.timed(("numpy", "torch")), make.timed(("numpy", "torch"))
    for r in after.results["torch"].rounds:
        r.step_ns = [2 * ns for ns in r.step_ns]
    for name, made in (("before", before), ("after", after)):
        exported("pyperf", made, out=tmp_path / f"{name}.json")
    shown = run_pyperf("show", "before.json", cwd=tmp_path)
    assert "mlp-scratch/step/torch" in shown
    assert re.search(r"Mean \+- std dev: 1.50 ms", shown)
    stats = run_pyperf("stats", "before.json", cwd=tmp_path)
    assert "Median +- MAD:   1.50 ms" in stats
    assert "Number of warmup per run: 9" in stats  # 6 rounds, each one, and a whole round of 3
    assert re.search(r"#{3,}", run_pyperf("hist", "before.json", cwd=tmp_path))
    assert "cpu_model_name" not in run_pyperf("metadata", "before.json", cwd=tmp_path)
    compared = run_pyperf("compare_to", "before.json", "after.json", cwd=tmp_path)
    assert re.search(r"step/torch: .*1.50 ms .*-> .*3.00 ms .*: 2.00x slower", compared, re.DOTALL)
    assert "hidden because not significant (1): mlp-scratch/step/numpy" in compared


# --- JUnit ---


def junit(*records: Record) -> ET.Element:
    return ET.fromstring(text("junit", *records))


def outcome(case: ET.Element) -> str:
    found = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    assert len(found) < 2
    return found[0] if found else "passed"


def cases(root: ET.Element) -> dict[tuple[str, str], ET.Element]:
    return {
        (case.get("classname", ""), case.get("name", "")): case for case in root.iter("testcase")
    }


def stopped(made: Record) -> None:
    made.ended = "the disk is full"


def interrupted(made: Record) -> None:
    made.ended = "interrupted"


def off(made: Record) -> None:
    make.find(made, "torch", "gradients", step=10).distance = 0.125


def declared(made: Record) -> None:
    off(made)
    expect = (Expected(label="torch", rung="gradients", reason="its own"),)
    made.plan = msgspec.structs.replace(made.plan, expect=expect)


def declared_and_gone(made: Record) -> None:
    declared(made)
    make.find(made, "torch", "gradients", step=10).distance = 0.0


def crashed(made: Record) -> None:
    make.fail(made, "torch")


def crashed_late(made: Record) -> None:
    process = msgspec.structs.replace(made.results["torch"].processes[0], session=1)
    process.status, process.reason = "failed", "died of SIGKILL"
    made.results["torch"].processes.append(process)


def slow_and_crashed(made: Record) -> None:
    """Every rung was judged, timing as a disagreement, and a process of another session failed."""
    made.plan = msgspec.structs.replace(
        made.plan, timing=msgspec.structs.replace(made.plan.timing, sessions=5)
    )
    for number, label in enumerate(made.results.values()):
        label.rounds = make.sessions(1_000_000 * 9**number)
    crashed_late(made)


def wrong_answer(made: Record) -> None:
    made.known_answers = [KnownAnswer(name="pixels", want="1", got="2")]


def not_timed(made: Record) -> None:
    made.results["torch"].rounds = []


def nothing(made: Record) -> None:
    made.results = {}


def skipped(made: Record) -> None:
    make.skip(made, "torch")


CHANGES = [off, declared, declared_and_gone, crashed, crashed_late, slow_and_crashed, wrong_answer,
           stopped, interrupted, skipped, not_timed, nothing]  # fmt: skip


@pytest.mark.parametrize("change", [None, *CHANGES])
def test_a_suite_is_red_exactly_where_the_verdict_is(change):
    made = make.record()
    if change is not None:
        change(made)
    root = junit(made)
    found = [outcome(case) for case in root.iter("testcase")]
    assert len(found) == 2 * len(RUNGS) + 1
    red = any(one in ("failure", "error") for one in found)
    assert red == (judge(made).verdict in ("disagree", "failed"))
    (of_run,) = root
    for whole in (root, of_run):
        assert whole.get("tests") == str(len(found))
        assert whole.get("failures") == str(found.count("failure"))
        assert whole.get("errors") == str(found.count("error"))
    assert of_run.get("skipped") == str(found.count("skipped"))


@pytest.mark.parametrize("change", [off, crashed, skipped, not_timed, declared])
def test_every_case_is_the_finding_of_its_label_and_rung(change):
    made = make.record()
    change(made)
    want = {
        "agree": "passed",
        "disagree": "passed" if change is declared else "failure",
        "inconclusive": "skipped",
        "not-possible": "skipped",
    }
    found = cases(junit(made))
    for name, label in judge(made).labels.items():
        for rung in RUNGS:
            finding = label.findings.get(rung)
            if label.status == "failed" and (finding is None or finding.verdict == "inconclusive"):
                expected = "error"
            else:
                expected = want[finding.verdict] if finding else "skipped"
            assert outcome(found[name, rung]) == expected, (name, rung)


def test_a_failure_holds_the_whole_evidence():
    made = make.record()
    off(made)
    failure = cases(junit(made))["torch", "gradients"].find("failure")
    assert failure is not None
    assert failure.get("message") == judge(made).labels["torch"].findings["gradients"].sentence
    lines = (failure.text or "").splitlines()
    for told in ("rung: gradients", "batch: step 10", "step: 10", "tensor: W1", "element: [3, 4]",
                 "got: 1.5", "want: 1.25", "distance: 0.125", "limit: 1e-5"):  # fmt: skip
        assert told in lines
    assert any(told.startswith("limit because: between rounding") for told in lines)


def test_a_failed_workers_last_words_are_in_the_error():
    made = make.record()
    crashed(made)
    made.results["torch"].processes[0].stderr_tail = "Traceback\n  \x1b[31mboom\n"
    made.results["torch"].measurements = []
    error = cases(junit(made))["torch", "forward"].find("error")
    assert error is not None
    assert error.get("message") == "failed: died of SIGSEGV"
    assert (error.text or "").splitlines() == ["Traceback", "�[31mboom"]


def test_a_worker_that_fails_when_all_is_judged_is_an_error_too():
    made = make.record()
    crashed_late(made)
    verdict = judge(made)
    for finding in verdict.labels["torch"].findings.values():
        finding.verdict = "agree"
    told = export("junit", [Run(made, verdict, Path("runs/x"))]).text or ""
    outcomes = {key: outcome(case) for key, case in cases(ET.fromstring(told)).items()}
    assert [key for key, what in outcomes.items() if what == "error"] == [("torch", "timing")]


def test_junitparser_reads_what_ci_systems_read():
    made = disagreeing()
    parsed = junitparser.JUnitXml.fromstring(text("junit", made, make.record()).encode())
    first, second = list(parsed)
    assert (parsed.failures, parsed.errors) == (1, 0)
    assert parsed.tests == (3 + 2) * len(RUNGS) + 2
    assert first.name == "mlp-scratch, run 20260101T000000-abcdef"
    assert first.time == made.seconds
    assert second.failures == 0
    failed = [case for case in first if case.is_failure]
    assert [(case.classname, case.name) for case in failed] == [("torch", "gradients")]


# What the schema of Jenkins' xUnit plug-in allows (junit-10.xsd), as far as it is used.
ALLOWED = {
    "testsuites": ({"testsuite"}, {"name", "tests", "failures", "errors"}),
    "testsuite": ({"properties", "testcase"},
                  {"name", "tests", "failures", "errors", "skipped", "timestamp", "time"}),
    "properties": ({"property"}, set()),
    "property": (set(), {"name", "value"}),
    "testcase": ({"failure", "error", "skipped", "system-out"}, {"classname", "name"}),
    **dict.fromkeys(("failure", "error", "skipped"), (set(), {"message", "type"})),
    "system-out": (set(), set()),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_record_gives_valid_junit(what):
    made = hostile(HOSTILE[what])
    made.seconds, made.started = -1e9, HOSTILE[what]
    root = junit(made)
    for element in root.iter():
        children, attributes = ALLOWED[element.tag]
        assert {child.tag for child in element} <= children
        assert set(element.attrib) <= attributes
        for told in (*element.attrib.values(), *(element.text or "").split("\n")):
            assert told.isprintable()
            assert len(told) <= LONGEST_TEXT
    assert re.fullmatch(r"[0-9]+\.[0-9]{3}", root[0].get("time", ""))
    assert len(cases(root)) == 3 * len(RUNGS) + 1


# --- github-action-benchmark ---


def test_the_dashboards_entries_are_the_verdicts_figures():
    made = make.timed(("numpy", "torch"))
    for results in made.results.values():
        for r in results.rounds:  # a throughput of its own: not to be taken for the step
            r.burst_ns = [ns * 95 // 100 for ns in r.burst_ns]
    entries = {entry["name"]: entry for entry in json.loads(text("github-action-benchmark", made))}
    for name in ("numpy", "torch"):
        time = judge(made).labels[name].step_time
        assert time is not None
        step = entries[f"mlp-scratch/step/{name}"]
        assert step["unit"] == "ms"
        assert round(step["value"] * 1e6) == time.median_ns
        low, high = (float(bound) for bound in step["range"].split("–"))
        assert (low, high) == pytest.approx([ns / 1e6 for ns in time.ci95_ns], rel=1e-3)
        assert "sessions: 5" in step["extra"]
        multiple = entries[f"mlp-scratch/multiple of the GEMM floor/{name}"]
        # Every set of products took 700 or 710 microseconds.
        assert multiple["value"] == pytest.approx(time.median_ns / 705_000, rel=0.01)
    assert len(entries) == 4
    assert all(
        isinstance(e["value"], float) and isinstance(e["name"], str) for e in entries.values()
    )


def test_one_session_is_said_to_be_indicative():
    entries = json.loads(text("github-action-benchmark", make.record()))
    assert all("indicative" in entry["extra"] for entry in entries)
    assert "indicative" not in text("github-action-benchmark", make.timed())


# --- CSV ---


def table(*records: Record) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text("csv", *records))))


def value(told: str) -> float | None:
    return float(told) if told else None


def test_every_distance_of_the_record_is_a_row():
    made = disagreeing()
    rows = [row for row in table(made) if row["what"] == "distance"]
    want = [
        (name, m.dtype, m.rung, m.case, m.tensor, m.step, m.distance)
        for name, results in made.results.items()
        for m in results.measurements
    ]
    found = [
        (row["label"], row["dtype"], row["rung"], row["case"], row["tensor"],
         int(row["step"]) if row["step"] else None, value(row["value"]))
        for row in rows
    ]  # fmt: skip
    assert sorted(found, key=str) == sorted(want, key=str)
    limits = {row["limit"] for row in rows if (row["rung"], row["dtype"]) == ("update", "float32")}
    assert limits == {"1e-05"}


def test_every_epoch_of_the_record_is_a_row():
    made = make.record()
    made.results["torch"].training.append(make.training(seed=7, test_accuracy=["nan", 0.5]))
    for what, field in (("training loss", "epoch_losses"), ("test accuracy", "test_accuracy")):
        found = [
            (row["label"], int(row["seed"]), int(row["epoch"]), row["value"])
            for row in table(made)
            if row["what"] == what
        ]
        assert found == [
            (name, training.seed, epoch, str(number))
            for name, results in made.results.items()
            for training in results.training
            for epoch, number in enumerate(getattr(training, field), start=1)
        ]


def test_times_and_rungs_stand_in_the_table_beside_their_agreement():
    made = disagreeing()
    verdict, rows = judge(made), table(made)
    for name, label in verdict.labels.items():
        own = [row for row in rows if row["label"] == name]
        want = "NOT RANKED: do not agree" if name == "torch" else "agree"
        assert {row["agreement"] for row in own} == {want}
        (step,) = [row for row in own if row["what"] == "step time"]
        time = label.step_time
        assert time is not None
        assert [int(step[k]) for k in ("value", "low", "high")] == [time.median_ns, *time.ci95_ns]
        sessions = [row for row in own if row["what"] == "session's step time"]
        assert [(int(r["session"]), float(r["value"])) for r in sessions] == [
            (s, statistics.median(steady_ns(made, name, s))) for s in range(5)
        ]
        rungs = {row["rung"]: row for row in own if row["what"] == "rung"}
        assert {rung: row["verdict"] for rung, row in rungs.items()} == {
            rung: finding.verdict for rung, finding in label.findings.items()
        }
        for rung, finding in label.findings.items():
            assert value(rungs[rung]["value"]) == finding.value
            assert value(rungs[rung]["limit"]) == finding.limit


def test_pandas_takes_numbers_for_numbers():
    made = make.record()
    make.find(made, "torch", "gradients").distance = "inf"
    made.results["numpy"].training.append(make.training(epoch_losses=["-inf", "nan"]))
    frame = pd.read_csv(io.StringIO(text("csv", made, make.timed())))
    assert all(frame[column].dtype.kind in "fi" for column in
               ("value", "low", "high", "limit", "step", "seed", "epoch", "session"))  # fmt: skip
    assert math.isinf(frame[frame.what == "distance"].value.max())
    assert frame[frame.what == "training loss"].value.min() == -math.inf
    pivot = frame[(frame.what == "test accuracy") & (frame.label == "torch")].iloc[:4]
    assert list(pivot.value) == make.training().test_accuracy


@pytest.mark.parametrize(
    "text_", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r\n=cmd|' /C'!A1"]
)
def test_no_text_of_a_record_is_a_formula_to_a_spreadsheet(text_):
    made = make.record(("numpy", text_), run=text_)
    make.find(made, "numpy", "forward").tensor = text_
    rows = table(made)
    texts = [cell for row in rows for k, cell in row.items() if k in ("run", "label", "tensor")]
    assert [cell for cell in texts if cell[:1] in ("=", "+", "-", "@", "\t", "\r")] == []
    # A tab at its beginning has become a character that is none of a formula's.
    assert any(cell.startswith("'") for cell in texts) == (text_[0] not in "\t\r")


# --- All of them ---


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("name", FILES)
def test_a_hostile_record_crashes_nothing_and_stays_short(name, what):
    made = hostile(HOSTILE[what])
    del made.plan.labels["torch"], made.results["torch"]
    made.plan.labels["jax"] = make.label("jax", variant=HOSTILE[what])
    made.results["jax"] = make.results("jax")
    made.results["jax"].processes[0].facts = {
        HOSTILE[what]: HOSTILE[what], f"version:{HOSTILE[what]}": HOSTILE[what], "python": ""
    }  # fmt: skip
    told = text(name, made)
    assert [c for c in told if not c.isprintable() and c != "\n"] == []
    assert len(told) < 400_000
    if name == "pyperf":
        assert "mlp-scratch/step/jax" in pyperf.BenchmarkSuite.loads(told).get_benchmark_names()
    elif name == "github-action-benchmark":
        assert json.loads(told)
    elif name == "csv":
        assert {len(row) for row in csv.reader(io.StringIO(told))} == {22}


@pytest.mark.parametrize("name", ["junit", "csv"])
@pytest.mark.parametrize("change", [*CHANGES, None])
def test_whatever_is_missing_the_rest_is_exported(name, change):
    made = make.record(dataset=None)
    made.plan.labels["jax"] = make.label("jax")  # of which the record holds nothing
    if change is not None:
        change(made)
    told = text(name, made)
    assert "numpy" in told


@pytest.mark.parametrize("name", FILES)
def test_the_same_record_gives_the_same_bytes(name):
    assert text(name, disagreeing()) == text(name, disagreeing())


@given(st.lists(st.text(max_size=8), unique=True, max_size=6))
def test_names_are_told_apart_and_lead_nowhere(names):
    for made in (distinct(names), file_names(names)):
        assert list(made) == names
        assert len(set(made.values())) == len(names)
        assert all(shown.isprintable() and shown for shown in made.values())
    assert not [n for n in file_names(names).values() if "/" in n or "\0" in n or n[0] == "."]


# --- The command line ---


@pytest.fixture
def folder(tmp_path):
    """A stored run in which torch does not agree."""
    store.write(disagreeing(), tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_without_out_the_export_itself_goes_to_stdout(name, folder, command):
    said = command("export", name, folder)
    assert said.out == text(name, store.read(folder))
    named = "left out: the times of torch (NOT RANKED: do not agree)" in said.err
    assert named == (name in ("pyperf", "github-action-benchmark"))


@pytest.mark.parametrize("name", FILES)
def test_with_out_a_file_is_written_and_json_says_which(name, folder, command):
    path = folder / "made"
    told = json.loads(command("export", name, folder, "--out", path, "--json").out)
    assert told["format"] == name
    assert told["written"] == [str(path)]
    assert told["runs"] == ["20260101T000000-abcdef"]
    assert [left["what"] for left in told["left_out"]] in ([], ["the times of torch"])
    assert path.read_text() == text(name, store.read(folder))


def test_the_help_names_every_format():
    (argument,) = FormatName.__metadata__
    assert set(argument.metavar.split("|")) == set(FORMATS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("yaml", "RUN"), "there is pyperf, junit"),
        (("junit", "RUN", "--json"), "--out"),
        (("junit", "RUN", "--tracking-uri", "http://x"), "needs no server"),
        (("mlflow", "RUN", "--out", "x"), "writes no file"),
        (("tensorboard", "RUN"), "--out DIR"),
        (("pyperf", "RUN", "RUN"), "one record"),
        (("github-action-benchmark", "RUN", "RUN"), "one record"),
        (("csv", "nowhere"), "record"),
        (("csv", "RUN", "--out", "RUN/no/such/folder/x"), "cannot write"),
        (("csv", "RUN", "--out", "RUN"), "cannot write"),
        (("tensorboard", "RUN", "--out", "RUN/record.json/x"), "Not a directory"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_one_line(words, told, folder, command):
    given_words = [word.replace("RUN", str(folder)) for word in words]
    assert told in command("export", *given_words, ends=2).err
    assert sorted(p.name for p in folder.iterdir()) == ["record.json", "steps.parquet"]
