"""The benchmark's peers compute what we compute, and its ratios say what was measured."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import BACKENDS
from benchmarks import bench, convolution, ladder, loops, overhead, peers
from harness import data
from harness.workloads import WORKLOADS
from harness.workloads.reference.optimisers import sgd
from tests import make
from tests.conftest import needs

WRONG_LR = msgspec.structs.replace(peers.WORKLOAD, optimiser=sgd(lr=0.2))
BOOK = peers.PEERS[-1]
LOADED = peers.PEERS[-2]
KERAS = peers.PEERS[0]
PLANTED = msgspec.structs.replace(BOOK, label="planted", workload=WRONG_LR)
ABSENT = peers.Arm("absent", "no_such_peer:Backend", "none", against="torch", bar=1.0)


@pytest.fixture(scope="module")
def dataset(small_data):
    return data.of_workload(peers.WORKLOAD, data_dir=small_data, warn=pytest.fail)


def few(dataset, *chosen):
    # One thread: two wait for each other where others compute too.
    return peers.measure_peers(dataset, sessions=1, rounds=1, steps=8, threads=1, peers=chosen)


@pytest.fixture(scope="module")
def measured(dataset):
    return few(dataset, BOOK, LOADED, PLANTED, ABSENT)


def row_of(result, arm):
    return next(row for row in result.rows if row.peer == arm.label)


@needs("torch")
@pytest.mark.parametrize("arm", [BOOK, LOADED], ids=lambda arm: arm.variant)
def test_the_books_loop_ends_where_we_end_and_is_compared(measured, arm):
    row = row_of(measured, arm)
    assert row.distance < 1e-5
    assert row.verdict == "no bar"
    assert row.first_s > 0
    assert row.our_first_s > 0


@needs("torch")
@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
def test_keras_fit_ends_where_we_end_and_tells_what_it_chose(dataset):
    result = few(dataset, KERAS)
    row = row_of(result, KERAS)
    assert row.distance < 1e-5, row.reason
    assert row.verdict in {"met, indicative", "missed, indicative"}
    call = result.series[0][KERAS.label].calls[1]
    assert 0 < call.epoch_ns < call.call_ns
    assert "by default jit_compile 0, run_eagerly 0, steps_per_execution 1" in peers.markdown(
        result
    )


@needs("torch")
def test_a_peer_that_trains_otherwise_is_not_compared(measured):
    row = row_of(measured, PLANTED)
    assert row.verdict == "NOT COMPARED"
    assert row.distance > peers.LIMIT
    assert row.loop is None
    assert row.epoch is None
    assert "| planted | torch (eager) | – |  | **NOT COMPARED**" in peers.markdown(measured)


@needs("torch")
def test_a_peer_that_cannot_start_is_named_and_the_others_go_on(measured):
    row = row_of(measured, ABSENT)
    assert row.verdict == "not run"
    assert "ModuleNotFoundError" in row.reason
    assert row_of(measured, BOOK).loop is not None


@needs("torch")
def test_the_file_holds_every_call(measured, tmp_path):
    peers.write_json(measured, tmp_path / "peers.json")
    read = msgspec.json.decode((tmp_path / "peers.json").read_bytes(), type=peers.Result)
    assert read == measured
    assert [len(series.calls) for series in read.series[0].values()] == [2] * 4


@needs("torch")
def test_an_interrupted_measurement_leaves_no_process(dataset, monkeypatch):
    # Other files' tests may have workers of their own that still live.
    started, before = [], psutil.Process(os.getpid()).children()

    def interrupted(session, arm):
        started.extend(p for p in psutil.Process(os.getpid()).children() if p not in before)
        raise KeyboardInterrupt

    monkeypatch.setattr(peers.Session, "_call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        few(dataset, BOOK)
    assert len(started) == 2
    assert not any(process.is_running() for process in started)


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)), min_size=1, max_size=9),
    st.integers(2, 1000),
)
def test_a_peer_k_times_slower_has_a_ratio_k_times_smaller(pairs, k):
    mine, theirs = zip(*pairs, strict=True)
    slower = peers.session_log_ratio(mine, [k * ns for ns in theirs])
    assert slower == pytest.approx(peers.session_log_ratio(mine, theirs) - math.log(k))


def made(ratios, strays=None):
    """Sessions in which our loop takes so many times the peer's, with one disturbed round each."""
    ours_ns = [[round(1e9 * r) for r in (r, r, 50 * r)] for r in ratios]
    sessions = []
    for number, each in enumerate(ours_ns):
        mine = [peers.Call(ns, ns) for ns in (7 * 10**9, *each)]
        theirs = [peers.Call(3 * 10**9, 1, 1e-7)]
        theirs += [peers.Call(10**9, 5 * 10**8, 1e-7) for _ in each]
        if number == 0 and strays is not None:
            theirs[-1].distance = strays
        found = {KERAS.against: peers.Series({}, mine), KERAS.label: peers.Series({}, theirs)}
        sessions.append(found)
    return sessions


def test_the_ratio_is_the_sessions_mean_and_one_disturbed_round_does_not_move_it():
    row = peers.row(KERAS, made([0.2, 0.8, 0.4, 0.4, 0.4]), {})
    # By hand: logs of 0.4 are -0.916 and twice -+ 0.693 beside it; t(4) at 97.5 % is 2.776.
    half = 2.776445 * math.log(2) * math.sqrt(2 / 4) / math.sqrt(5)
    assert row.loop.value == pytest.approx(0.4)
    assert row.loop.low == pytest.approx(0.4 * math.exp(-half), rel=1e-6)
    assert row.loop.high == pytest.approx(0.4 * math.exp(half), rel=1e-6)
    assert row.epoch.value == pytest.approx(0.8)
    assert (row.first_s, row.our_first_s) == (3.0, 7.0)


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([0.40, 0.41, 0.42, 0.41, 0.40], "met"),
        ([0.60, 0.61, 0.62, 0.61, 0.60], "missed"),
        ([0.35, 0.60, 0.54, 0.56, 0.55], "met, but the interval holds the bar"),
        ([0.45, 0.70, 0.57, 0.56, 0.55], "missed, but the interval holds the bar"),
        ([0.40, 0.41, 0.42, 0.41], "met, indicative"),
        ([0.60], "missed, indicative"),
    ],
)
def test_a_bar_is_met_surely_only_with_the_whole_interval_of_five_sessions(ratios, verdict):
    assert peers.row(KERAS, made(ratios), {}).verdict == verdict


@pytest.mark.parametrize("strays", [2 * peers.LIMIT, math.inf])
def test_one_call_that_strays_takes_all_figures_away(strays):
    row = peers.row(KERAS, made([0.4] * 5, strays), {})
    assert row.verdict == "NOT COMPARED"
    assert row.loop is None


def test_a_peer_whose_counterpart_failed_has_no_figures_and_the_reason():
    row = peers.row(KERAS, made([0.4]), {"torch": "SIGSEGV"})
    assert (row.verdict, row.reason, row.loop) == ("not run", "torch: SIGSEGV", None)


@pytest.mark.parametrize("odd", [np.full((2, 2), np.nan), np.ones((2, 3)), np.full((2, 2), np.inf)])
def test_parameters_that_are_not_comparable_are_infinitely_far(odd):
    assert peers.distance({"W1": odd}, {"W1": np.ones((2, 2), np.float32)}) == math.inf


@pytest.mark.parametrize("word", ["--sessions", "--rounds", "--steps", "--threads"])
def test_nothing_can_be_measured_zero_times(word, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        peers.main([word, "0", "--out", str(tmp_path / "x.json")])
    assert stopped.value.code == 2


def test_a_file_that_cannot_be_written_is_refused_before_measuring(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        peers.main(["--out", str(tmp_path / "nowhere" / "x.json")])
    assert stopped.value.code == 2


# -- what a framework costs when the work is nothing ---------------------------------------------


def test_the_overhead_of_numpy_is_measured_and_told_in_one_table(tmp_path, capsys):
    page = tmp_path / "page.md"
    few = ("--sessions", "2", "--rounds", "2", "--steps", "3", "--threads", "1")
    assert overhead.main([*few, "--backend", "numpy", "--page", str(page)]) == 0
    text = page.read_text()
    assert capsys.readouterr().out == text
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    systems = {(row[0], row[1]): row[2:] for row in rows[2:]}
    labels = ("numpy (buffered)", "numpy:plain")
    assert [*systems] == [(system, label) for system in overhead.SYSTEMS for label in labels]
    for harness_us, by_hand_us, difference in systems.values():
        assert min(float(harness_us), float(by_hand_us)) > 0
        assert difference.startswith(("+", "-"))
    assert "2 rounds of 3 steps" in text
    assert f"numpy {np.__version__}" in text


def test_a_loop_by_hand_that_computes_something_else_is_not_compared(monkeypatch, tmp_path):
    system = "linear-regression"
    wrong = msgspec.structs.replace(WORKLOADS[system], optimiser=sgd(lr=0.021))
    monkeypatch.setitem(loops.WORKLOADS, system, wrong)
    page = tmp_path / "page.md"
    few = ("--sessions", "1", "--rounds", "1", "--steps", "3", "--threads", "1")
    assert overhead.main([*few, "--backend", "numpy", "--page", str(page)]) == 1
    rows = [line for line in page.read_text().splitlines() if "| numpy" in line]
    assert {row for row in rows if "NOT COMPARED" in row} == {row for row in rows if system in row}
    assert len(rows) == 2 * len(overhead.SYSTEMS)


def beside_by_hand(harness_ns, by_hand_ns):
    return loops.Turns(harness_ns, {overhead.BY_HAND: by_hand_ns}, {overhead.BY_HAND: 1e-7})


def test_the_difference_is_that_within_rounds_and_its_interval_over_sessions():
    turns = [
        # The machine was slower in the second round of both, and one round was disturbed.
        beside_by_hand([15_000, 30_000, 15_000], [10_000, 25_000, 90_000]),
        beside_by_hand([16_000, 31_000, 99_000], [10_000, 25_000, 10_000]),
    ]
    key = "himmelblau", "numpy:plain"
    measured = loops.Measured({key: turns}, {}, {})
    (row,) = [row for row in overhead.rows(measured, ["numpy:plain"]) if row[0] == "himmelblau"]
    # By hand: 5 and 6, mean 5.5, sd .7071; t(1) at 97.5 % is 12.7062.
    half = 12.7062 * 0.70711 / math.sqrt(2)
    assert row[2:] == ["23.0", "17.5", f"+5.5 [{5.5 - half:+.1f}, {5.5 + half:+.1f}]"]


def test_a_label_that_cannot_start_is_named_and_the_others_have_their_rows(monkeypatch, tmp_path):
    absent = replace(BACKENDS["numpy"], name="torch", source="no_such_backend:Backend")
    monkeypatch.setitem(loops.BACKENDS, "torch", absent)
    page = tmp_path / "page.md"
    few = ("--sessions", "1", "--rounds", "1", "--steps", "2", "--threads", "1")
    words = [*few, "--backend", "numpy", "--backend", "torch", "--page", str(page)]
    assert overhead.main(words) == 1
    text = page.read_text()
    assert text.count("NOT MEASURED") == 2 * len(overhead.SYSTEMS)
    assert "- torch (buffered): ModuleNotFoundError" in text
    assert "| nielsen-neuron | numpy:plain | " in text


@pytest.mark.parametrize("word", ["--sessions", "--rounds", "--steps", "--threads"])
def test_no_overhead_is_measured_zero_times(word):
    with pytest.raises(SystemExit) as stopped:
        overhead.main([word, "0"])
    assert stopped.value.code == 2


# -- two convolutional nets beside plain loops and Keras -----------------------------------------

SLOWER = {"torch (eager)": 2.0, "tensorflow:graph": 1.5, "tensorflow:eager": 9.0}
PLAIN = "nn.Module, torch.optim"


def convolved(ratios, distance=1e-6, failed=()):
    """A measurement in which our best step is 3 ms, and so many times a loop's, a session each."""
    turns = {}
    for system in convolution.SYSTEMS:
        for arm in loops.arms(convolution.STUDY.backends):
            mine = SLOWER.get(arm.label, 1.0 if arm.variant != "scan" else 1.1) * 3e6
            rounds = [round(ns) for ns in (mine, mine, 40 * mine)]  # the last disturbed
            names = [*convolution.beside(arm)]
            turns[system, arm.label] = [
                loops.Turns(
                    rounds,
                    {name: [round(mine / of), round(mine / of), round(mine)] for name in names},
                    dict.fromkeys(names, 1e-7) | {PLAIN: distance},
                )
                for of in ratios
            ]
    return loops.Measured(turns, dict.fromkeys(failed, "SIGSEGV"), {})


def paged(monkeypatch, tmp_path, measured, sessions=5):
    """Status, and the rows of the page's first table."""
    monkeypatch.setattr(loops, "measure", lambda *_: measured)
    page = tmp_path / "page.md"
    status = convolution.main(["--page", str(page), "--sessions", str(sessions)])
    lines = page.read_text().partition("Every variant")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return status, rows[2:]


def test_the_best_variant_of_a_framework_is_held_against_every_loop(monkeypatch, tmp_path):
    status, rows = paged(monkeypatch, tmp_path, convolved([0.5, 0.6, 0.5, 0.6, 0.5]))
    assert status == 0
    bests = {"torch:compile": 3, "jax (jit)": 2, "tensorflow (xla)": 2}
    each = [label for label, loops_ in bests.items() for _ in range(loops_)]
    assert [row[1] for row in rows] == each * len(convolution.SYSTEMS)
    # By hand: logs of .5 (three) and .6 (two): mean .5378, sd .09986; t(4) at 97.5 % is 2.776.
    assert rows[0][2:] == [PLAIN, "3000.0", "5000.0", "0.538 \\[0.475, 0.609\\]", "1.0e-06", "met"]


@pytest.mark.parametrize(
    ("ratios", "verdict", "status"),
    [
        ([0.90, 0.91, 0.92, 0.91, 0.90], "met", 0),
        ([0.80, 1.15, 0.95, 0.96, 0.97], "met (the interval holds the bar)", 0),
        ([0.90, 1.20, 1.05, 1.04, 1.03], "met (the interval holds the bar)", 0),
        ([1.10, 1.11, 1.12, 1.11, 1.10], "missed", 1),
        ([0.90, 1.05], "met, indicative", 0),
        ([1.10], "missed, indicative", 1),
    ],
)
def test_a_step_slower_than_a_loops_misses_the_bar_and_ends_with_one(
    monkeypatch, tmp_path, ratios, verdict, status
):
    found = paged(monkeypatch, tmp_path, convolved(ratios), len(ratios))
    assert found[0] == status
    assert {row[-1] for row in found[1]} == {verdict}


@pytest.mark.parametrize("distance", [2e-3, None])
def test_a_net_that_ends_elsewhere_is_not_compared(monkeypatch, tmp_path, distance):
    status, rows = paged(monkeypatch, tmp_path, convolved([0.5] * 5, distance))
    assert status == 1
    shown = "inf" if distance is None else "2.0e-03"
    for row in rows:
        strays = ["–", "–", "–", shown, "NOT COMPARED: limit 0.001"]
        assert (row[3:] == strays) == (row[2] == PLAIN)


def test_a_variant_that_fails_is_named_and_the_next_is_the_best(monkeypatch, tmp_path, capsys):
    measured = convolved([0.5] * 5, failed=["torch:compile", "jax (jit)", "jax:scan"])
    status, rows = paged(monkeypatch, tmp_path, measured)
    assert status == 1
    told = {row[1]: row[-1] for row in rows}
    assert told == {"torch (eager)": "met", "jax": "NOT MEASURED", "tensorflow (xla)": "met"}
    text = capsys.readouterr().out
    assert "| cifar-net | torch:compile | NOT MEASURED |  |" in text
    assert "- torch:compile: SIGSEGV" in text


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
@pytest.mark.parametrize(
    "arm",
    [
        pytest.param(loops.Arm(name, variant), marks=needs(name))
        for name, variant in (("torch", "eager"), ("jax", "jit"), ("tensorflow", "xla"))
    ],
    ids=lambda arm: arm.backend,
)
def test_the_nets_by_hand_and_in_keras_end_where_ours_end(monkeypatch, tmp_path, capsys, arm):
    compiled = loops.Loop("torch", "compile")  # the same module: what compiling does is torch's
    mine = {name: of for name, of in convolution.beside(arm).items() if of != compiled}
    monkeypatch.setattr(convolution, "beside", lambda _: mine)
    monkeypatch.setattr(loops, "arms", lambda _: [arm])
    study = convolution.STUDY._replace(beside=convolution.beside)
    few = ("--sessions", "1", "--rounds", "1", "--steps", "12", "--threads", "1")
    assert loops.main(study, [*few, "--backend", arm.backend]) in (0, 1)
    text = capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if " indicative |" in line]
    assert [row[2] for row in rows] == [*mine] * len(convolution.SYSTEMS), text
    assert max(float(row[6]) for row in rows) < 1e-5


@pytest.mark.parametrize("words", [("--steps", "13"), ("--rounds", "0"), ("--backend", "numpy")])
def test_convolutions_are_not_measured_by_words_that_cannot_be_used(words):
    with pytest.raises(SystemExit) as stopped:
        convolution.main(words)
    assert stopped.value.code == 2


# -- bench keeps what it has --------------------------------------------------------------------

NOT_RUN = {"peer": "fit", "bar": 0.5, "loop": None, "verdict": "not run"}


def benched(monkeypatch, capsys, tmp_path, *, ends, slow=1, peers=True):
    """Status, page and stderr of bench.py whose commands end so, by their first words."""
    stored = make.timed(("numpy", "torch", "jax", "tensorflow"))
    for r in stored.results["torch"].rounds:
        r.step_ns = [slow * ns for ns in r.step_ns]
        r.burst_ns = [slow * ns for ns in r.burst_ns]

    def run(command, **_):
        words = [*map(str, command)]
        if words[1].endswith("peers.py"):
            Path(words[words.index("--out") + 1]).write_text(json.dumps({"rows": [NOT_RUN]}))
            return subprocess.CompletedProcess(words, 0 if peers else 3, "## Peers", "")
        kind = "variants" if "--all-variants" in words else words[3]
        status = ends.get(kind, 0)
        said = json.dumps({"record": "somewhere"}) if kind != "list" else ""
        return subprocess.CompletedProcess(words, status, "" if status == 2 else said, "why not")

    monkeypatch.setattr(bench.subprocess, "run", run)
    monkeypatch.setattr(bench.store, "read", lambda path: stored)
    page = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["bench.py", "--page", str(page)])
    status = bench.main()
    return status, page.read_text(), capsys.readouterr().err


def test_bench_goes_on_where_the_backends_disagree_and_says_so_at_the_end(
    monkeypatch, capsys, tmp_path
):
    ends = {"variants": 1}
    status, page, told = benched(monkeypatch, capsys, tmp_path, ends=ends, slow=4)
    assert status == 1
    assert "numpy: step / GEMM floor" in page
    assert "torch, timing: " in page
    assert "| harness compare --all-variants | disagree | – | agree | NOT MET |" in page
    assert "harness compare --all-variants: disagree" in told
    for heading in ("## All variants", "## Peers", "## Roofline", "harness list, seconds"):
        assert heading in page


@pytest.mark.parametrize(
    ("ends", "lost", "kept"),
    [
        ({"variants": 2}, "## All variants", "## Peers"),
        ({"compare": 2}, "Σ (gather", "## All variants"),
        ({"list": 3}, "harness --help, seconds", "## Roofline"),
        ({"peers": 3}, "## Peers", "## All variants"),
    ],
)
def test_what_bench_could_not_measure_is_named_and_the_rest_is_kept(
    monkeypatch, capsys, tmp_path, ends, lost, kept
):
    status, page, told = benched(
        monkeypatch, capsys, tmp_path, ends=ends, peers="peers" not in ends
    )
    assert status == 1
    assert lost not in page
    assert kept in page
    assert "NOT MEASURED" in page
    assert "NOT MEASURED" in told


def test_bench_refuses_a_page_that_cannot_be_written_before_it_measures(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["bench.py", "--page", str(tmp_path / "nowhere" / "page.md")])
    with pytest.raises(SystemExit) as stopped:
        bench.main()
    assert stopped.value.code == 2


# -- the ladder ----------------------------------------------------------------------------------


def test_a_training_of_the_ladder_goes_on_from_its_last_epoch_to_the_same_bits(
    monkeypatch, tmp_path
):
    name = "nielsen-conv-1"
    short = msgspec.structs.replace(WORKLOADS[name], validation=5, epochs=2)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (35, 28, 28), np.uint8), rng.integers(0, 10, 35)
    few = data.Dataset("mnist", False, "", "", x, y, x[:20], y[:20], ())
    monkeypatch.setattr(ladder, "WORKLOADS", {**WORKLOADS, name: short})
    monkeypatch.setattr(ladder.data, "of_workload", lambda *_, **__: few)
    states = {}
    for place, epochs in (("at once", (2,)), ("in two", (1, 2, 2))):
        folder = tmp_path / place
        for most in epochs:
            words = ["ladder", "--backend", "numpy", "--variant", "buffered", "--only", name]
            words += ["--epochs", str(most), "--page", str(tmp_path / "page.md")]
            words += ["--folder", str(folder), "--states", str(folder / "states")]
            monkeypatch.setattr("sys.argv", words)
            assert ladder.main() == 0
        label = f"{name}-numpy-buffered-cpu"
        done = ladder.read(folder / f"{label}.json").epochs
        assert len(done) == 2
        assert all(0 <= of.test <= 1 and of.seconds > 0 for of in done)
        (kept,) = (folder / "states").iterdir()
        assert kept.name == f"{label}-2"
        states[place] = kept.read_bytes(), [(of.validation, of.test) for of in done]
    assert states["at once"] == states["in two"]
    rows = [line for line in (tmp_path / "page.md").read_text().splitlines() if name in line]
    last = 100 * states["in two"][1][-1][1]
    assert "| numpy:buffered, cpu | 2 of 2 | 98.78 |" in rows[0]
    assert f" {last:.2f} |" in rows[0]


def test_the_ladder_is_trained_on_the_device_that_is_asked_for(monkeypatch, tmp_path):
    words = ["ladder", "--backend", "numpy", "--device", "cuda", "--folder", str(tmp_path)]
    monkeypatch.setattr("sys.argv", [*words, "--states", str(tmp_path)])
    with pytest.raises(ValueError, match=r"unknown device 'cuda'"):
        ladder.main()
