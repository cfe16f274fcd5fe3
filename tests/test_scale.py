"""The grid of widths and batch sizes: what is asked, what is stored, what is made of it."""

from __future__ import annotations

import json
import math
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import BACKENDS
from harness.errors import InputError
from harness.interface import Workload
from harness.plan.choices import Choices
from harness.record import store
from harness.record.schema import FINISHED, INTERRUPTED, Process, Record, Round
from harness.report import markdown
from harness.report import scale as report
from harness.report.figure import colour as colour_of
from harness.report.figure import pale
from harness.results.scale import (
    BARS,
    FLOOR,
    NOT_COMPILED,
    Figure,
    Grid,
    Growth,
    growths,
    judged,
    read,
)
from harness.run import scale
from harness.run.scale import MOST, make_plans, parse_sizes
from harness.verdict.verdict import judge
from harness.workloads import WORKLOADS
from harness.workloads.mlp_scratch import sized
from harness.workloads.reference.optimisers import sgd
from tests import make
from tests.conftest import Silent, harness, needs, plant

HOSTILE = "a|b\n<script>$x^{$ _[x](y)`\x1b[31m\u202e"
WIDTHS, BATCHES = (64, 256, 2048, 4096), (32, 256)
# Of one label: nanoseconds a step beyond the floor's, and step over floor without them.
SHAPES = {
    "numpy": (20e3, 1.3),
    "torch": (80e3, 1.2),
    "jax": (60e3, 1.15),
    "tensorflow": (90e3, 1.6),
}
COMPILE_NS = {"jax": 200_000_000, "tensorflow": 300_000_000}
FLOP_PER_NS = 200.0


def resized(width: int, batch: int) -> Workload:
    return sized(width, batch).workload


def size(width: int, batch: int, labels=tuple(SHAPES), sessions: int = 1, threads=2) -> Record:
    """A made record of one size in which every label agrees, exactly as SHAPES has it.

    Two rounds a session after a warm-up round that is slow; then the machine slows down by a fifth
    for everybody.
    """
    made = make.record(labels, run=f"20260101T000000-abcdef-{width}x{batch}")
    kinds = [name.split(":")[0] for name in labels]
    configured = {
        name: msgspec.structs.replace(
            made.plan.labels[name], variant=BACKENDS[kind].variants[0], twin=False
        )
        for name, kind in zip(labels, kinds, strict=True)
    }
    timing = msgspec.structs.replace(made.plan.timing, sessions=sessions, rounds=2, burst_steps=0)
    workload = resized(width, batch)
    made.plan = msgspec.structs.replace(
        made.plan, workload=workload, labels=configured, timing=timing, steps=2, threads=threads
    )
    floor = workload.flop / FLOP_PER_NS
    for name, kind in zip(labels, kinds, strict=True):
        fixed, share = SHAPES[kind]
        step = fixed + share * floor
        made.results[name] = make.results(name, dtypes=("float32",), training=[])
        (process,) = made.results[name].processes
        process.first_step_ns = {str(batch): round(step * 1.1) + COMPILE_NS.get(kind, 0)}
        made.results[name].rounds = [
            Round(
                session=session,
                round=number,
                place=0,
                step_ns=[round(step * factor)] * 3,
                gather_ns=[10],
                put_ns=[10],
                warmup_ns=[],
                products_ns=[round(floor * factor)] * 2,
                drain_ns=[10**9, 0],  # copies take long in a small batch of a wide network
                digest="a" if number == 1 else None,
                replayed="a" if number == 1 else None,
            )
            for session in range(sessions)
            for number, factor in enumerate((9.0, 1.0, 1.2))
        ]
    return made


def records(labels=tuple(SHAPES), widths=WIDTHS, batches=BATCHES, **words) -> list[Record]:
    """A made grid in which every label agrees everywhere."""
    return [size(width, batch, labels, **words) for width in widths for batch in batches]


def grid(made: list[Record]) -> Grid:
    return judged("20260101T000000-abcdef", made)


def at(found: Grid, label: str, width: int, batch: int) -> Figure:
    wanted = label, width, batch
    return next(f for f in found.figures if (f.label, f.width, f.batch) == wanted)


def of(made: list[Record], width: int, batch: int) -> Record:
    return next(r for r in made if r.plan.workload == resized(width, batch))


def growth(found: Grid) -> dict[str, Growth]:
    return {each.label: each for each in growths(found)}


# What is asked


@given(st.lists(st.integers(1, MOST), min_size=1, max_size=8, unique=True))
def test_sizes_come_back_in_order(sizes):
    assert parse_sizes("--widths", ", ".join(map(str, sizes))) == tuple(sorted(sizes))


@given(st.text(max_size=12))
def test_any_other_text_is_refused_in_one_line(text):
    said = ""
    try:
        sizes = parse_sizes("--widths", text)
    except InputError as error:
        said = str(error)
    if said:
        assert said.startswith("--widths")
        assert "\n" not in said
    else:
        assert [int(part) for part in sorted(text.split(","), key=int)] == list(sizes)


@pytest.mark.parametrize(
    "text",
    ["", "64,", "64,64", "0", "-64", "+64", "64.0", "6_4", "\u0666", str(MOST + 1), "9" * 5000],
)
def test_sizes_that_cannot_be_are_refused(text):
    with pytest.raises(InputError, match="--batches"):
        parse_sizes("--batches", text)


@needs("torch")
def test_numpy_enters_beside_what_was_asked_for():
    plans = make_plans(Choices(backends=("torch",), rounds=3, sessions=5), "128,64", "8", "1")
    assert [plan.workload for plan in plans] == [resized(64, 8), resized(128, 8)]
    for plan in plans:
        assert [*plan.labels] == ["numpy", "torch"]
        assert (plan.threads, plan.timing.rounds, plan.timing.sessions) == (1, 3, 5)
        # Neither the float64 process nor the second arm is of use here.
        assert not any(label.twin for label in plan.labels.values())
        assert plan.timing.again is None


def test_the_smallest_sizes_come_first_and_larger_ones_have_shorter_blocks():
    plans = make_plans(Choices(backends=("numpy",)))
    work = [plan.workload.flop for plan in plans]
    assert work == sorted(work)
    assert len(work) == len(scale.WIDTHS) * len(scale.BATCHES)
    steps = [plan.timing.warmup_steps + plan.timing.steps for plan in plans]
    assert steps == sorted(steps, reverse=True)
    assert (steps[0], steps[-1]) == (30, 3)


def test_every_variant_is_known_to_compile_or_not():
    compiling = {"compile", "cuda-graph", "jit", "scan", "xla", "graph"}
    variants = {variant for entry in BACKENDS.values() for variant in entry.variants}
    assert variants <= compiling | {*NOT_COMPILED}
    assert not compiling & {*NOT_COMPILED}


# The workload of another size


def test_a_resized_workload_has_the_shapes_computed_by_hand():
    workload = resized(3, 5)
    shapes = {tensor.name: tensor.shape for tensor in workload.tensors}
    assert shapes == {"W1": (784, 3), "b1": (3,), "W2": (3, 10), "b2": (10,)}
    assert workload.sizes == {"num_inputs": 784, "num_outputs": 10, "num_hiddens": 3}
    assert workload.batch_size == 5
    # X W1, H W2, H' dO, dO W2', X' dH: twice 5*784*3 and three times 5*3*10, 2 FLOP each.
    assert workload.flop == 2 * (2 * 5 * 784 * 3 + 3 * 5 * 3 * 10) == 47_940
    assert WORKLOADS["mlp-scratch"].flop == 209_453_056


# Figures of made records


def test_multiples_are_those_the_records_were_made_with():
    found = grid(records()[::-1])  # in whatever order
    for figure in found.figures:
        fixed, share = SHAPES[figure.label]
        floor = figure.flop / FLOP_PER_NS
        assert figure.multiple.value == pytest.approx(share + fixed / floor, rel=1e-3)
        # The median of a round as made and one slower by a fifth; the warm-up round is left out.
        assert figure.floor_ns == pytest.approx(1.1 * floor, rel=1e-3)
        assert figure.step_ns == pytest.approx(1.1 * (fixed + share * floor), rel=1e-3)
        assert figure.compile_ns == pytest.approx(COMPILE_NS.get(figure.label, 0), abs=2)
    assert {f.verdict for f in found.figures} == {"agree"}
    sizes = [(width, batch) for width in WIDTHS for batch in BATCHES for _ in SHAPES]
    assert [(f.width, f.batch) for f in found.figures] == sizes


def test_a_scan_is_compared_with_its_own_first_call():
    made = size(256, 256, ("numpy", "jax"))
    step = made.results["jax"].rounds[1].step_ns[0]
    for r in made.results["jax"].rounds:
        r.at_once = 12
    first = {"256": 1, "256 x 12": 12 * round(step * 1.1) + 7_000_000}
    made.results["jax"].processes[0].first_step_ns = first
    figure = at(grid([made]), "jax", 256, 256)
    assert figure.at_once == 12
    assert figure.compile_ns == pytest.approx(7_000_000, abs=100)


def test_exponents_are_one_without_a_fixed_cost_and_below_it_with_one():
    laws = {label: each.law for label, each in growth(grid(records())).items()}
    assert laws[FLOOR].exponent == pytest.approx(1.0, abs=1e-3)
    assert laws[FLOOR].n == 8
    for label in SHAPES:
        assert laws[label].exponent < 1.0
        assert laws[label].low < laws[label].exponent < laws[label].high
    two = grid(records(widths=(64, 256), batches=(32,)))
    assert {each.law for each in growths(two)} == {None}


def test_a_compile_pays_from_the_first_step_on_that_is_no_dearer_in_all():
    found = grid(records())
    seen = {"never": 0, "pays": 0}
    for this in found.figures:
        if this.label not in COMPILE_NS:
            assert this.against is None
            continue
        plain = [at(found, name, this.width, this.batch) for name in ("numpy", "torch")]
        other = min(plain, key=lambda figure: figure.step_ns)
        assert this.against == other.label
        seen["never" if this.pays_after is None else "pays"] += 1
        if this.pays_after is None:
            assert this.step_ns >= other.step_ns
        else:
            gained = other.step_ns - this.step_ns
            assert this.pays_after * gained >= this.compile_ns > (this.pays_after - 1) * gained
    assert all(seen.values())


def test_bars_are_for_widths_above_1024_only_and_every_size_counts():
    made = records()
    by_label = growth(grid(made))
    assert {name: by_label[name].bar for name in SHAPES} == BARS
    assert {by_label[name].wide for name in SHAPES} == {4}
    # torch at 2048 x 32: 1.2 + 80 us / 1.05 ms of floor.
    assert by_label["torch"].largest == pytest.approx(1.2763, abs=1e-3)
    assert by_label["torch"].met == 4
    for r in of(made, 4096, 256).results["torch"].rounds:
        r.step_ns = [round(1.2 * ns) for ns in r.step_ns]
    make.find(of(made, 4096, 32), "jax", "update").distance = 1e-3  # cannot be ranked
    spoilt = growth(grid(made))
    assert (spoilt["torch"].met, spoilt["jax"].met, spoilt["jax"].wide) == (3, 3, 4)
    assert growth(grid(records(widths=(64, 1024))))["torch"].wide == 0
    rows = markdown.render(report.report(grid(made)))
    assert "≤ 1.5×: met, 4 of 4" in rows
    assert "≤ 1.3×: missed, 3 of 4" in rows


def too_fast(made: Record) -> None:
    for r in made.results["torch"].rounds:
        r.step_ns = [round(0.9 * r.products_ns[0])] * 3


def other_parameters(made: Record) -> None:
    made.results["torch"].rounds[1].replayed = "b"


def not_timed(made: Record) -> None:
    made.results["torch"].rounds = made.results["torch"].rounds[:1]


def died(made: Record) -> None:
    make.fail(made, "torch", "out of memory: bad_alloc")


def measured(rung: str, **changes):
    """A record in which one measurement of a rung is otherwise."""

    def spoil(made: Record) -> None:
        found = make.find(made, "torch", rung)
        for name, value in changes.items():
            setattr(found, name, value)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "verdict", "reason", "status"),
    [
        (measured("gradients", distance=3e-5), "disagree", "gradients", 1),
        (measured("forward", distance=None, problem="shape (3,)"), "disagree", "shape", 1),
        (measured("forward", distance="nan"), "disagree", "nan", 1),
        (measured("update", case="another"), "not measured", "update", 1),
        (too_fast, "void", "somebody is not waiting", 1),
        (other_parameters, "void", "without a clock", 1),
        (not_timed, "not measured", "rounds", 1),
        (died, "failed", "out of memory", 3),
    ],
)
def test_what_cannot_be_trusted_is_not_ranked(spoil, verdict, reason, status):
    made = records(batches=(256,))
    clean = grid(made)
    spoil(of(made, 256, 256))
    found = grid(made)
    figure = at(found, "torch", 256, 256)
    assert figure.verdict == verdict
    assert reason in figure.reason
    assert len(clean.ranked) - len(found.ranked) == 1
    shown = report.cell(figure)
    assert "ms" not in shown
    assert "µs" not in shown
    assert reason in markdown.render(report.report(found))
    assert (clean.status, found.status) == (0, status)


def test_there_is_no_floor_without_numpy_and_the_times_stay():
    made = records(batches=(256,))
    for each in made:
        make.fail(each, "numpy", "died of SIGKILL")
        each.results["numpy"].rounds = []
    found = grid(made)
    torch = at(found, "torch", 256, 256)
    assert (torch.verdict, torch.multiple, torch.floor_ns) == ("agree", None, None)
    assert "–" in report.cell(torch)
    assert growth(found)[FLOOR].law is None
    # Who is fastest is known all the same; multiples of a floor are none.
    (plot,) = (p for section in report.report(found).sections for p in section.pictures)
    assert plot.name == "winners-2"
    assert all("numpy" not in row for row in plot.rows)


def test_who_wins_is_told_at_every_size_that_two_labels_share():
    found = grid(records(sessions=5))
    least = found.records[0].plan.timing.least
    place = {name: k for k, name in enumerate(found.labels, 1)}
    for width, batch, label, ns in (
        (64, 32, "jax", 1000), (64, 32, "torch", 1500), (64, 256, "numpy", 1000),
        (64, 256, "jax", round(1000 * (1 + least / 2))),
    ):  # fmt: skip
        at(found, label, width, batch).step_ns = ns
    for label in ("numpy", "torch", "jax"):
        at(found, label, 4096, 32).verdict = "void"
    (plot, _) = report.report(found).sections[0].pictures
    (trace,) = plot.traces
    layout = plot.layout
    rows = [layout["yaxis"]["ticktext"].index(f"width {width}") for width in (64, 4096)]
    columns = [layout["xaxis"]["ticktext"].index(str(batch)) for batch in BATCHES]
    assert trace["z"][rows[0]] == [place["jax"], 0]
    assert trace["text"][rows[0]] == ["jax<br>50%", "numpy ≈<br>jax"]
    assert math.isnan(trace["z"][rows[1]][columns[0]])
    assert [row for row in plot.rows if row[0] == "width 64, batch 32"] == [
        ["width 64, batch 32", "jax", "1 µs", "torch", "1.5 µs", "50.0%"]
    ]
    assert len(plot.rows) == len(WIDTHS) * len(BATCHES) - 1
    # Every label has the hue of its framework: of the scale's steps the one around its place.
    steps = trace["colorscale"]
    for name, own in place.items():
        where = (own - trace["zmin"]) / (trace["zmax"] - trace["zmin"])
        (low, hue), (high, same) = steps[2 * own : 2 * own + 2]
        assert low < where < high
        assert hue == same == pale(colour_of(name))


def test_a_step_of_less_than_20_us_has_its_time_in_a_cell_and_no_multiple():
    for us, told in ((19, False), (21, True)):
        figure = at(grid([make.lasting(numpy=us, torch=us)]), "torch", 256, 256)
        assert figure.step_ns == pytest.approx(us * 1000, rel=0.01)
        assert figure.verdict == "agree"
        for multiple in (figure.multiple, figure.of_physics):
            assert (multiple is not None) == told
        assert f"{us} µs" in report.cell(figure)
        assert ("×" in report.cell(figure)) == told


@pytest.mark.parametrize(("sessions", "claimed"), [(4, False), (5, True)])
def test_a_claim_needs_five_sessions(sessions, claimed):
    made = size(4096, 256, ("numpy", "torch"), sessions=sessions)
    for r in made.results["torch"].rounds:
        r.step_ns = [round(ns * (1 + r.session / 100)) for ns in r.step_ns]
    found = grid([made])
    multiple = at(found, "torch", 4096, 256).multiple
    assert multiple.low < multiple.value < multiple.high
    assert (multiple.n, multiple.claimable) == (sessions, claimed)
    assert ("[" in report.cell(at(found, "torch", 4096, 256))) == claimed
    assert any("Indicative" in line for line in report.warnings(found)) != claimed


def test_the_status_tells_the_worst_that_happened():
    made = records(batches=(256,))
    made[0].ended = INTERRUPTED
    assert grid(made).status == 130
    assert any("NOT FINISHED: interrupted" in line for line in report.warnings(grid(made)))
    made[0].ended = "OSError: no space"
    assert grid(made).status == 3


@pytest.mark.parametrize("label", ["torch:" + HOSTILE, "torch:\U0001f600", "torch:" + "x" * 500])
def test_hostile_labels_are_shown_and_steer_nothing(label):
    made = records(("numpy", label), batches=(32,))
    make.fail(made[0], label, HOSTILE)
    made[0].results["numpy"].processes[0].facts = {HOSTILE: HOSTILE}
    found = grid(made)
    page = markdown.render(report.report(found))
    for raw in ("<script", "\x1b", "\u202e"):
        assert raw not in page
    (row,) = [line for line in page.splitlines() if line.startswith("| 64×32 | 0")]
    assert row.replace("\\|", "").count("|") == 6
    assert json.loads(json.dumps(report.to_json(found, "x"), allow_nan=False))["cells"]


def test_the_terminal_needs_80_columns_for_four_labels():
    from rich.console import Console

    from harness.report.terminal import show

    made = records(widths=scale.WIDTHS, batches=scale.BATCHES)
    make.find(of(made, 4096, 1024), "jax", "update").distance = "inf"
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(report.report(grid(made), brief=True), console)
    console.file.close()
    text = console.export_text()
    rows = re.findall(r"^ ?\d+×\d+ .*$", text, re.MULTILINE)
    assert len(rows) == 42, rows
    assert "✗ update" in text
    assert "missed" in text


# The stored records


def test_what_is_no_grid_is_refused(tmp_path):
    def put(made: Record, name: str) -> None:
        (tmp_path / "runs" / name).mkdir(parents=True)
        store.write(made, tmp_path / "runs" / name)

    with pytest.raises(InputError, match=f"grid {tmp_path}: No such file"):
        read(tmp_path)
    put(size(64, 32), "64x32-2")
    assert [f.width for f in read(tmp_path).figures] == [64] * 4
    other = size(64, 33)
    workload = msgspec.structs.replace(resized(64, 33), optimiser=sgd(lr=0.2))
    other.plan = msgspec.structs.replace(other.plan, workload=workload)
    put(other, "64x33-2")
    with pytest.raises(InputError, match="not one of a grid"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--widths", "64,x"], "64,x"),
        (["--batches", "0"], "--batches"),
        (["--threads", "100000"], "--threads"),
        (["--rounds", "0"], "--rounds"),
        (["--sessions", "0"], "--sessions"),
        (["--backend", "caffe"], "caffe"),
        (["--page", "nowhere/at/all.md"], "--page"),
        (["--page", "."], "--page"),
        (["--page", "page.txt"], "ends in .html or .md"),
        (["nowhere"], "nowhere"),
        (["nowhere", "--widths", "64"], "leave out"),
    ],
)
def test_unusable_words_end_in_one_line(tmp_path, words, reason):
    done = harness("scale", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert reason in line
    assert list(tmp_path.iterdir()) == []


# Real workers


def carry_out(tmp_path, small_data, progress=None, sizes=("8", "16", "1"), **words) -> Grid:
    settings = {"rounds": 2, "backends": ("numpy",), "timeout_s": 120.0}
    plans = make_plans(Choices(data_dir=str(small_data), **(settings | words)), *sizes)
    return read(scale.run(plans, tmp_path / "results", progress or Silent()))


@needs("torch")
def test_a_grid_is_measured_stored_and_shown_again(tmp_path, small_data):
    page = tmp_path / "page.md"
    words = ["--widths", "64,8", "--batches", "16,32", "--rounds", "2", "--threads", "1"]
    words += ["--backend", "torch", "--data-dir", str(small_data), "--page", str(page), "--json"]
    done = harness("scale", *words, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    document = json.loads(done.stdout)
    folder = tmp_path / "results" / "scale" / document["run"]
    found = read(folder)
    assert found.ended == FINISHED
    assert [(f.width, f.batch, f.label) for f in found.figures] == [
        (width, batch, label)
        for width in (8, 64)
        for batch in (16, 32)
        for label in ("numpy", "torch")
    ]
    # Times may be anything where others compute; numbers may not.
    assert {f.verdict for f in found.figures} <= {"agree", "void"}
    assert all(f.worst_share < 1 / 3 for f in found.figures)
    assert all(f.floor_ns and f.multiple is not None for f in found.figures)
    for each in found.records:
        assert [case.case for case in each.cases] == ["step 0", "step 1"]
        for name, label in judge(each).labels.items():
            assert label.findings["trajectory"].verdict == "agree"
            assert label.reproducible
            assert each.results[name].processes[0].first_step_ns[str(each.plan.workload.batch_size)]
            rounds = each.results[name].rounds
            assert all(r.digest == r.replayed for r in rounds)
            assert [r.digest is None for r in rounds] == [True, False, True]
            assert all(len(r.step_ns) == 12 and len(r.warmup_ns) == 18 for r in rounds)
    assert {"scale.html", "scale.md", "logs", "runs"} == {file.name for file in folder.iterdir()}
    first = page.read_text()
    page.unlink()
    again = harness("scale", f"results/scale/{folder.name}", "--page", "page.md", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert page.read_text() == first
    assert "torch" in again.stdout
    html = tmp_path / "page.html"
    harness("scale", f"results/scale/{folder.name}", "--page", str(html), cwd=tmp_path)
    assert html.read_bytes() == (folder / "scale.html").read_bytes()
    assert html.read_text().startswith("<!doctype html>")
    # Each size is a run as any other.
    check = harness("check", str(folder / "runs" / "8x16-1"), "--json", cwd=tmp_path)
    assert json.loads(check.stdout)["profile"] == "scale"


@pytest.mark.parametrize(
    ("file", "fault", "verdict", "reason"),
    [
        ("numbers.py", "lr_one_per_mille", "disagree", "update"),
        ("numbers.py", "leaky_relu", "disagree", "forward"),
        ("numbers.py", "momentum", "disagree", "trajectory"),
        ("steps.py", "cached", "void", "without a clock"),
    ],
)
def test_a_planted_fault_is_shown_as_not_ranked(tmp_path, small_data, file, fault, verdict, reason):
    found = carry_out(tmp_path, small_data, plants={"numpy": plant(file, fault)})
    (figure,) = found.figures
    assert figure.verdict == verdict
    assert reason in figure.reason
    assert report.cell(figure).startswith("✗")
    assert found.status == 1
    assert "FAULT PLANTED" in "\n".join(report.warnings(found))


@needs("torch")
def test_a_killed_worker_fails_from_there_on_and_the_others_go_on(tmp_path, small_data):
    found = carry_out(
        tmp_path,
        small_data,
        sizes=("8", "16,32", "1"),
        backends=("torch",),
        plants={"numpy": plant("process.py", "killed")},
    )
    numpy = [f for f in found.figures if f.label == "numpy"]
    assert [f.verdict for f in numpy] == ["failed", "failed"]
    assert all("SIGKILL" in f.reason for f in numpy)
    assert {f.verdict for f in found.figures if f.label == "torch"} <= {"agree", "void"}
    assert found.status == 3


def test_an_interrupted_run_keeps_what_was_measured(tmp_path, small_data):
    class Stopping(Silent):
        def phase(self, name, total):
            self.stops = name.startswith("sizes")

        def advance(self, done):
            if self.stops:
                raise KeyboardInterrupt

    found = carry_out(tmp_path, small_data, Stopping(), sizes=("8,24", "16", "1"))
    assert [record.ended for record in found.records] == [FINISHED, INTERRUPTED]
    assert [(f.width, f.step_ns is not None) for f in found.figures] == [(8, True)]
    assert found.status == 130


def test_other_threads_and_sessions_are_fresh_processes(tmp_path, small_data):
    from harness.plan.make import available_threads

    threads = "1,2" if available_threads() > 1 else "1"
    sizes = ("8", "16", threads)
    found = carry_out(tmp_path, small_data, sizes=sizes, sessions=2, rounds=1)
    assert found.threads == [int(count) for count in threads.split(",")]
    for record in found.records:
        processes: list[Process] = record.results["numpy"].processes
        assert [process.session for process in processes] == [0, 1]
        for process in processes:
            assert process.status == "ok"
            assert process.facts["threads"].split(",")[0] == str(record.plan.threads)
        assert {r.session for r in record.results["numpy"].rounds} == {0, 1}
    logs = (tmp_path / "results" / "scale" / found.name / "logs").glob("*/*.stderr.txt")
    assert len([*logs]) == 2 * len(found.threads)


def test_convolutions_have_channels_and_sides_and_are_held_against_a_large_product(tmp_path):
    choices = Choices(dataset="synthetic", backends=("numpy",), rounds=2)
    plans = make_plans(choices, "4", "8,2", "1", "two-convolutions", "16,8")
    work = [plan.workload.work for plan in plans]
    assert work == sorted(work)
    found = read(scale.run(plans, tmp_path, Silent()))
    sizes = [(4, 2, 8), (4, 2, 16), (4, 8, 8), (4, 8, 16)]
    assert [(f.width, f.batch, f.side) for f in found.figures] == sizes
    assert {f.verdict for f in found.figures} <= {"agree", "void"}
    for record, figure in zip(found.records, found.figures, strict=True):
        assert record.plan.workload.x == (32, 32, 3)
        assert figure.floor_ns is None is figure.multiple
        (roof,) = record.roofs
        if figure.of_large is not None:  # a step of 20 us or more
            rate = figure.flop / figure.step_ns * 1e9
            assert figure.of_large == pytest.approx(rate / roof.flop_per_s)
    assert any(f.of_large for f in found.figures)
    assert found.figures[-1].flop == max(work)
    assert [each.label for each in growths(found)] == ["numpy"]
    shown = markdown.render(report.report(found))
    assert "sides 8, 16" in shown
    assert "| 4×8×16 |" in shown
    drawn = [f for f in found.ranked if f.of_large is not None]
    assert not drawn or f"{drawn[-1].of_large:.0%}, " in shown


@pytest.mark.parametrize(
    ("workload", "sides", "reason"),
    [
        ("mlp-scratch", "8", "--sides: mlp-scratch has no images whose side can be chosen"),
        ("two-convolutions", "8,5", "--sides: a side of 5: CIFAR-10's 32 is no multiple of it"),
        ("two-convolutions", "x", "--sides 'x': expected numbers"),
    ],
)
def test_a_side_must_be_one(workload, sides, reason):
    with pytest.raises(InputError, match=re.escape(reason)):
        make_plans(Choices(), "8", "16", "1", workload, sides)
