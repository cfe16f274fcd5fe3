"""`harness certify`: workers, the certificate and the command line.

That every built-in backend is certified is in test_backend.py, which each can run alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends import BACKENDS
from harness.conformance import CHECKS, DTYPES, KIT, certify
from harness.conformance import certificate as stored
from harness.conformance.certificate import Certificate, Result
from harness.errors import InputError
from harness.record.schema import Process
from harness.report import certificate as page
from harness.report import terminal
from harness.workloads import WORKLOADS
from tests import make
from tests.conftest import Silent, harness, refused_here, run_here

BROKEN = Path(__file__).parent / "broken"
WIDE = Path(__file__).parent / "workloads" / "wide.py"


def broken(name: str, file: str = "process.py") -> str:
    return f"{BROKEN / file}:{name}"


def certified(spec: str, *checks: str, **words: object) -> Certificate:
    return certify.certify(certify.ask_for(spec, checks=checks, **words), Silent())


def statuses(found: Certificate) -> dict[tuple[str, str], str]:
    return {(result.check, result.dtype): result.status for result in found.results}


def asked(*checks: str) -> list[str]:
    """These checks as options."""
    return [word for check in checks for word in ("--check", check)]


# -- whole certificates --------------------------------------------------------------------------


def test_numpy_is_certified_from_the_command_line_and_its_certificate_reads_back(tmp_path):
    done = harness("certify", "numpy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    (path,) = (tmp_path / "results" / "certificates").iterdir()
    found = stored.read(path)
    assert found.verdict == "certified"
    assert (found.kit, found.label, found.spec, found.whole) == (KIT, "numpy", "numpy", True)
    assert {*statuses(found)} == {(check.name, dtype) for check in CHECKS for dtype in check.dtypes}
    assert path.name == f"numpy-{found.run}.json"
    assert found.configured.source == BACKENDS["numpy"].source
    assert found.configured.variant == "buffered"
    assert [process.dtype for process in found.processes] == [*DTYPES]
    assert all("version:numpy" in process.facts for process in found.processes)
    assert found.machine["processors"]
    impossible = {check for (check, _), status in statuses(found).items() if status != "passed"}
    assert impossible <= {"run", "trace", "training-outputs", "threads"}
    lines = done.stdout.splitlines()
    assert lines[-2].startswith(f"✓ CERTIFIED: numpy, kit {KIT}:")
    assert str(path.relative_to(tmp_path)) in lines[-1]
    for check in CHECKS:
        assert check.name in done.stdout.replace("\n", "")


# One of every kind; every workload's own numbers are in test_rooms.py and test_conformance.py.
KINDS = ("mlp-scratch", "mnist-mlp", "cifar-net", "diabetes-relu", "nielsen-conv-6",
         "nielsen-cross-entropy", "linear-regression", "himmelblau")  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_workload_of_every_kind_can_be_certified(name):
    found = certified("numpy", "facts", "outputs", "update", workload=name)
    assert (found.verdict, found.workload) == ("holds", name)


@pytest.mark.parametrize("name", ["diabetes", f"{WIDE}:WIDE"])
def test_the_workload_is_that_of_the_users_words(name, tmp_path):
    words = [*asked("facts", "outputs", "update"), "--workload", name, "--json"]
    done = harness("certify", "numpy", *words, cwd=tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"]) == (0, "holds")
    assert told["workload"] == (name if name in WORKLOADS else "wide")


def test_a_workload_without_a_net_is_refused(tmp_path):
    done = harness("certify", "numpy", "--workload", f"{WIDE}:Own", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "it has no layers here, from which its judge is made" in done.stderr


def test_a_part_of_the_kit_is_no_certificate(tmp_path):
    done = harness("certify", "numpy", *asked("facts", "wait"), cwd=tmp_path)
    assert (done.returncode, [*tmp_path.iterdir()]) == (0, [])
    assert "CERTIFIED" not in done.stdout.upper()
    told = f"✓ HOLDS: numpy, kit {KIT}: 3 of 3 checks hold (2 of {len(CHECKS)} asked for)"
    assert told in done.stdout
    assert "no certificate: only whole kits have one" in done.stdout
    refused = harness("certify", "numpy", *asked("facts"), "--out", "c.json", cwd=tmp_path)
    assert (refused.returncode, [*tmp_path.iterdir()]) == (2, [])
    assert "--out: a part of the kit has no certificate; leave out --check" in refused.stderr


# -- what goes wrong -----------------------------------------------------------------------------


def test_a_worker_that_dies_fails_its_check_and_another_goes_on(tmp_path):
    names = ("facts", "dtype-kept", "inputs-unchanged", "unknown-workload-refused", "repeatable")
    done = harness("certify", broken("Crashes"), *asked(*names), "--json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert (told["verdict"], told.pop("certificate"), told["whole"]) == ("fails", None, False)
    found = msgspec.convert(told, Certificate)
    of = {(r.check, r.dtype): r for r in found.results}
    assert of["facts", "float32"].status == "passed"
    assert of["dtype-kept", "float32"].status == "failed"
    assert of["dtype-kept", "float32"].ended
    assert "SIGSEGV" in of["dtype-kept", "float32"].message
    assert of["repeatable", "float64"].status == "passed"  # after two deaths
    assert "dtype-kept (float32) failed" in done.stderr


def test_a_worker_that_hangs_is_given_up_and_after_three_nothing_more_is_asked(monkeypatch):
    class Impatient(Silent):
        def advance(self, done):  # not with the first check, for which a worker imports the kit
            monkeypatch.setattr(certify, "CHECK_S", 1.0)

    names = ("facts", "dtype-kept", "set-state-is-whole", "repeatable", "wait")
    plan = certify.ask_for(broken("Hangs"), checks=names)
    found = certify.certify(plan, Impatient())
    assert stored.exit_status(found) == 3
    of = {r.check: r for r in found.results if r.dtype == "float32"}
    assert of["facts"].status == "passed"
    assert "no answer within 1 s" in of["dtype-kept"].message
    assert [of[c.name].ended for c in plan.checks] == [False, True, True, True, False]
    assert "died or hung 3 times" in of["wait"].message


def test_a_backend_that_cannot_start_fails_everything_for_one_reason():
    found = certified(broken("CannotStart"))
    assert {*statuses(found).values()} == {"failed"}
    reasons = {result.message for result in found.results}
    assert len(reasons) == 1
    assert "NotImplementedError: trainer: to be written" in reasons.pop()
    assert stored.exit_status(found) == 1


def test_a_process_that_is_gone_before_it_has_started_is_a_crash():
    found = certified(broken("DiesAtStart"), "facts")
    assert {*statuses(found).values()} == {"failed"}
    assert "exit status 7" in found.results[0].message
    assert stored.exit_status(found) == 3


def test_a_backend_that_is_not_available_is_refused(tmp_path):
    done = harness("certify", broken("NotHere"), "--check", "facts", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("there is no frobnicator here")
    assert list(tmp_path.iterdir()) == []


def test_a_device_without_float64_is_certified_in_float32():
    found = certified(broken("NoFloat64"), "facts", "lockstep", "wait")
    assert found.verdict == "holds"
    assert statuses(found)["facts", "float64"] == "not-possible"
    assert statuses(found)["lockstep", "float64"] == "not-possible"
    assert "this device has no float64" in found.results[-1].message


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NeverEnds", "still runs"),
        ("LeavesAChild", "outlived"),
        ("EndsWithStatus3", "exit status 3"),
    ],
)
def test_a_process_that_does_not_end_cleanly_is_told_and_nothing_of_it_is_left(
    name, told, monkeypatch
):
    monkeypatch.setattr(certify, "END_S", 2.0)
    before = processes()
    found = certified(broken(name), "facts", "clean-end")
    assert statuses(found)["facts", "float32"] == "passed"
    assert statuses(found)["clean-end", "float32"] == "failed"
    assert told in next(r.message for r in found.results if r.status == "failed")
    time.sleep(0.1)
    assert processes() <= before


def processes() -> set[str]:
    """Sleeping children, as they are left by what is broken."""
    found = set()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                if "time.sleep(3600)" in file.read():
                    found.add(pid)
        except OSError:
            continue
    return found


def test_a_broken_backend_is_not_certified_and_its_failure_is_explained(tmp_path):
    spec = broken("NoUpdate", "numbers.py")
    done = harness("certify", f"mine={spec}", *asked("gradients", "update"), cwd=tmp_path)
    assert done.returncode == 1
    assert "✗ update, float32: update, step 0, float32: W1 is off by 1, limit 1e-5" in done.stdout
    assert "Limit because:" in done.stdout
    assert "✗ FAILS: mine" in done.stdout
    assert f"(2 of {len(CHECKS)} asked for)" in done.stdout


# -- declared failures ---------------------------------------------------------------------------


def test_a_declared_failure_is_shown_with_its_reason_and_not_counted(tmp_path):
    spec = broken("NoUpdate", "numbers.py")
    words = [*asked("gradients", "update"), "--expect", "update=not yet written"]
    done = harness("certify", spec, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "✗ as declared" in done.stdout
    assert "As declared: not yet written." in done.stdout
    assert "✓ HOLDS" in done.stdout


def test_a_declared_failure_that_does_not_come_about_fails():
    found = certified("numpy", "facts", "lockstep", expect={"lockstep": "some reason"})
    assert found.verdict == "fails"
    result = next(r for r in found.results if r.check == "lockstep")
    assert "was declared to fail (some reason) and holds" in result.message
    assert stored.exit_status(found) == 1


def test_a_failure_in_one_dtype_is_enough_for_a_declared_one():
    results = [result("update", "float32", "failed"), result("update", "float64", "passed")]
    told = stored.declared(results, {"update": "float32 only"})
    assert [r.status for r in told] == ["expected", "passed"]
    assert stored.judge(told, whole=True) == "certified"


# -- the verdict ---------------------------------------------------------------------------------


def result(check: str = "facts", dtype: str = "float32", status: str = "passed", **words) -> Result:
    return Result(check=check, dtype=dtype, status=status, **words)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (["passed", "passed"], "certified"),
        (["passed", "not-possible"], "certified"),
        (["passed", "expected"], "certified"),
        (["passed", "failed"], "not certified"),
        (["not-possible"], "not certified"),
        (["expected"], "not certified"),
        ([], "not certified"),
    ],
)
def test_certified_means_that_nothing_failed_and_something_passed(status, verdict):
    results = [result(status=each) for each in status]
    assert stored.judge(results, whole=True) == verdict
    part = "fails" if verdict == "not certified" else "holds"
    assert stored.judge(results, whole=False) == part


# -- the certificate's file ----------------------------------------------------------------------


def certificate(**changes) -> Certificate:
    fields = {
        "kit": KIT,
        "harness_version": "0.1.0",
        "run": "20260101T000000-abcdef",
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 9.5,
        "spec": "numpy",
        "workload": "mlp-scratch",
        "label": "numpy",
        "configured": make.label(),
        "threads": 1,
        "machine": {"system": "Linux"},
        "processes": [Process(label="numpy", dtype="float32", status="ok")],
        "whole": True,
        "checks": ["facts"],
        "expect": {},
        "results": [result()],
        "verdict": "certified",
    }
    return Certificate(**(fields | changes))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = (
    st.none()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["nan", "inf", "-inf"])
)
RESULTS = st.builds(
    Result,
    dtype=st.sampled_from(DTYPES),
    status=st.sampled_from(["passed", "failed", "expected", "not-possible"]),
    seconds=st.floats(0, 1e6),
    element=st.none() | st.lists(st.integers(0, 10**6), max_size=3),
    ended=st.booleans(),
    **dict.fromkeys(("check", "message", "why", "tensor"), TEXT),
    **dict.fromkeys(("value", "limit", "got", "want"), NUMBERS),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(results=st.lists(RESULTS, max_size=4), label=TEXT, facts=st.dictionaries(TEXT, TEXT))
def test_what_is_written_reads_back_the_same(tmp_path, results, label, facts):
    made = certificate(
        results=results,
        verdict=stored.judge(results, whole=True),
        label=label,
        machine=facts,
        expect={r.check: "a reason" for r in results if r.status == "expected"},
    )
    path = tmp_path / "certificate.json"
    stored.write(made, path)
    assert stored.read(path) == made
    # Whatever stands in it can be shown.
    assert [page.headline(made), *page.explanations(made), page.sentence(made)]
    assert page.rows(made)


def tampered(change) -> bytes:
    told = msgspec.to_builtins(certificate())
    change(told)
    return msgspec.json.encode(told)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not a whole certificate"),
        (msgspec.json.encode(certificate())[:-5], "not a whole certificate"),
        (b"[" * 100_000, "not a whole certificate"),
        (b"\xff\xfe", "not a whole certificate"),
        (tampered(lambda c: c.update(schema=3)), "schema 3 is newer"),
        (tampered(lambda c: c.update(schema=1)), "schema 1 was written by an older harness"),
        (tampered(lambda c: c.update(more=1)), "not a whole certificate"),
        (tampered(lambda c: c.pop("kit")), "not a whole certificate"),
        (tampered(lambda c: c["results"][0].update(status="fine")), "not a whole certificate"),
        (tampered(lambda c: c["results"][0].update(status="failed")), "not what its results say"),
        (tampered(lambda c: c.update(verdict="not certified")), "not what its results say"),
        (tampered(lambda c: c.update(whole=False)), "not what its results say"),
        (tampered(lambda c: c.update(whole=False, verdict="holds")), "of a part of the kit"),
    ],
)
def test_a_file_that_is_no_whole_certificate_is_refused_in_one_line(tmp_path, data, told):
    path = tmp_path / "c.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match=told) as caught:
        stored.read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "label", ["../../x", "/abs", "a\0b", "..", "", "x" * 300, "C:\\x", "\u202e"]
)
def test_whatever_the_label_the_certificate_lies_in_its_folder(tmp_path, label):
    made = certificate(label=label)
    path = stored.place_for(made, tmp_path / "results")
    assert path.parent == tmp_path / "results" / "certificates"
    stored.write(made, path)
    assert stored.read(path) == made


def test_a_hostile_message_cannot_steer_the_terminal(capsys):
    from rich.console import Console

    made = certificate(
        label="\x1b[2J\u202e",
        results=[result(status="failed", message="\x1b]0;x\x07 [red]no[/red]\u202e")],
        verdict="not certified",
    )
    terminal.show(page.report(made, "a\x1b[31m"), Console(width=100))
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]no[/red]" in shown


# -- the user's words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "which backend"),
        (["caffe"], "caffe"),
        (["nowhere.py"], "nowhere.py"),
        (["numpy", "--workload", "frobnicate"], "frobnicate"),
        (["numpy", "--rooms", "nowhere"], "--rooms nowhere"),
        (["numpy", "--check", "frobnicate"], "frobnicate"),
        (["numpy", "--expect", "frobnicate=x"], "frobnicate"),
        (["numpy", "--expect", "run"], "CHECK=REASON"),
        (["numpy", "--expect", "run= "], "CHECK=REASON"),
        (["numpy", "--expect", "run=a", "--expect", "run=b"], "every check once"),
        (["numpy", "--check", "facts", "--expect", "run=a"], "not asked"),
        (["numpy", "--variant", "quick"], "quick"),
        (["numpy", "--device", "cuda"], "cuda"),
        (["numpy", "--threads", "0"], "--threads"),
        (["numpy", "--python", "/nowhere/python"], "/nowhere/python"),
        (["numpy", "--out", "nowhere/at/all.json"], "--out"),
        (["numpy", "--out", "."], "--out"),
    ],
)
def test_unusable_words_are_refused_in_one_line(tmp_path, words, told):
    done = refused_here("certify", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert told in line
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_list_tells_every_check_with_its_sentence(tmp_path):
    done = harness("certify", "--list", cwd=tmp_path)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [c.name for c in CHECKS]
    told = json.loads(harness("certify", "--list", "--json", cwd=tmp_path).stdout)
    assert told["kit"] == KIT
    assert [check["holds"] for check in told["checks"]] == [c.sentence for c in CHECKS]


def test_out_names_the_file_and_another_interpreter_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(certify, "CHECKS", CHECKS[:1])  # that is then the whole kit
    words = ["--python", sys.executable, "--variant", "plain", "--out", "c.json"]
    assert run_here(monkeypatch, "certify", "mine=numpy", *words) == 0
    found = stored.read(tmp_path / "c.json")
    assert (found.label, found.configured.variant) == ("mine", "plain")
    assert found.configured.python == sys.executable
    assert not (tmp_path / "results").exists()
