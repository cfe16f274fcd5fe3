"""The grid of widths and batch sizes: what is asked, what is judged, what is made of it."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import BACKENDS
from harness.errors import InputError
from harness.record.schema import FINISHED, INTERRUPTED, Process, Round
from harness.report import scale as report
from harness.run import scale
from harness.run.scale import (
    MOST,
    RUNGS,
    Cell,
    Judged,
    ScalePlan,
    ScaleRecord,
    Session,
    parse_sizes,
)
from harness.run.scale_figures import (
    BARS,
    FLOOR,
    NOT_COMPILED,
    bars,
    break_evens,
    exit_status,
    figures,
    fits,
    ranked,
)
from harness.workloads import WORKLOADS
from harness.workloads.mlp_scratch import resized
from harness.workloads.reference import canonical
from tests import make
from tests.conftest import Silent, harness, needs, plant

HOSTILE = "a|b\n<script>$x^{$ _[x](y)`\x1b[31m\u202e"
GRID = {"widths": (64, 256, 2048, 4096), "batches": (32, 256), "threads": (2,)}
# Of one label: nanoseconds a step beyond the floor's, and step over floor without them.
SHAPES = {
    "numpy": (20e3, 1.3),
    "torch": (80e3, 1.2),
    "jax": (60e3, 1.15),
    "tensorflow": (90e3, 1.6),
}
COMPILE_NS = {"jax": 200_000_000, "tensorflow": 300_000_000}
FLOP_PER_NS = 200.0


def judged(**changes) -> list[Judged]:
    """A clean measurement of each rung; `changes`: distances by rung."""
    return [
        Judged(
            rung=rung,
            tensor="W1",
            case="256 x 256",
            distance=changes.get(rung, 0.0 if rung == "inputs" else 1e-6),
            limit=0.0 if rung == "inputs" else 1e-5,
        )
        for rung in RUNGS
    ]


def cell(label: str, width: int, batch: int, **changes) -> Cell:
    """A made cell: two rounds after a warm-up round, exactly as SHAPES has them."""
    floor = scale.flop(resized(width, batch)) / FLOP_PER_NS
    fixed, share = SHAPES[label.split(":")[0]]
    step = fixed + share * floor
    rounds = [
        Round(
            round=number,
            place=0,
            step_ns=[round(step * factor)] * 3,
            gather_ns=[10],
            put_ns=[10],
            warmup_ns=[],
            products_ns=[round(floor * factor)] * 2,
            digest="a" if number == 1 else None,
            replayed="a" if number == 1 else None,
        )
        # The warm-up round is slow; then the machine slows down by a fifth for everybody.
        for number, factor in enumerate((9.0, 1.0, 1.2))
    ]
    first = {str(batch): round(step * 1.1) + COMPILE_NS.get(label, 0)}
    fields = {"session": 0, "judged": judged(), "rounds": rounds, "first_step_ns": first}
    return Cell(label=label, width=width, batch=batch, **(fields | changes))


def record(labels=tuple(SHAPES), *, sessions: int = 1, grid=None, **changes) -> ScaleRecord:
    """A made record in which every label agrees everywhere."""
    plan = make.plan(labels)
    variants = {n: BACKENDS[k.backend].variants[0] for n, k in plan.labels.items()}
    configured = {
        n: msgspec.structs.replace(k, variant=variants[n]) for n, k in plan.labels.items()
    }
    timing = msgspec.structs.replace(plan.timing, sessions=sessions, rounds=2)
    made = ScalePlan(
        plan=msgspec.structs.replace(plan, labels=configured, timing=timing), **(grid or GRID)
    )
    processes = [Process(label=n, dtype="float32", status="ok", facts={"a": "b"}) for n in labels]
    fields = {
        "run": "20260101T000000-abcdef",
        "started": "2026-01-01T00:00:00Z",
        "seconds": 1.0,
        "ended": FINISHED,
        "harness_version": "0.1.0",
        "plan": made,
        "machine": {"cpu": "a processor"},
        "dataset": make.dataset(),
        "sessions": [Session(threads=2, processes=processes) for _ in range(sessions)],
        "cells": [
            cell(label, width, batch, session=session)
            for session in range(sessions)
            for width, batch in scale.grid(made)
            for label in labels
        ],
    }
    return ScaleRecord(**(fields | changes))


def at(found, label: str, width: int, batch: int):
    return next(f for f in found if (f.label, f.width, f.batch) == (label, width, batch))


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


def test_numpy_enters_always_because_its_products_are_the_floor():
    plan = scale.make_scale_plan(backends=("numpy",), rounds=3, sessions=5)
    assert [*plan.plan.labels] == ["numpy"]
    assert (plan.plan.timing.rounds, plan.plan.timing.sessions) == (3, 5)
    # Neither the float64 process nor the second arm is of use here.
    assert not any(label.twin for label in plan.plan.labels.values())
    assert plan.plan.timing.again is None


@needs("torch")
def test_numpy_enters_beside_what_was_asked_for():
    plan = scale.make_scale_plan(backends=("torch",), widths="128,64", batches="8", threads="1")
    assert [*plan.plan.labels] == ["numpy", "torch"]
    assert (plan.widths, plan.batches, plan.threads) == ((64, 128), (8,), (1,))


def test_every_variant_is_known_to_compile_or_not():
    compiling = {"compile", "cuda-graph", "jit", "scan", "xla", "graph"}
    variants = {variant for entry in BACKENDS.values() for variant in entry.variants}
    assert variants <= compiling | {*NOT_COMPILED}
    assert not compiling & {*NOT_COMPILED}


def test_the_smallest_cells_come_first():
    plan = scale.make_scale_plan(backends=("numpy",))
    work = [scale.flop(resized(*size)) for size in scale.grid(plan)]
    assert work == sorted(work)
    assert len(work) == len(scale.WIDTHS) * len(scale.BATCHES)


def test_a_larger_cell_has_a_shorter_block():
    plan = scale.make_scale_plan(backends=("numpy",))
    steps = [scale.block_for(plan, scale.flop(resized(*s))) for s in scale.grid(plan)]
    done = [block.warmup_steps + block.steps for block in steps]
    assert done == sorted(done, reverse=True)
    assert done[0] == 30
    assert done[-1] == 3


# The workload of another size


def test_a_resized_workload_has_the_shapes_computed_by_hand():
    workload = resized(num_hiddens=3, batch_size=5)
    shapes = {parameter.name: parameter.shape for parameter in workload.parameters}
    assert shapes == {"W1": (784, 3), "b1": (3,), "W2": (3, 10), "b2": (10,)}
    assert workload.sizes == {"num_inputs": 784, "num_outputs": 10, "num_hiddens": 3}
    assert workload.batch_size == 5
    # X W1, H W2, H' dO, dO W2', X' dH: twice 5*784*3 and three times 5*3*10, 2 FLOP each.
    assert scale.flop(workload) == 2 * (2 * 5 * 784 * 3 + 3 * 5 * 3 * 10) == 47_940


@given(st.integers(1, 40), st.integers(1, 40))
def test_flop_is_what_the_operands_of_a_worker_need(width, batch):
    from harness.workers.desks.timing import product_operands

    pairs = product_operands(resized(width, batch), np.dtype(np.float32))
    assert scale.flop(resized(width, batch)) == sum(
        2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b in pairs
    )
    assert [(a @ b).shape for a, b in pairs] == [
        *((batch, width), (batch, 10), (width, 10), (batch, width), (784, width))
    ]


def test_the_usual_workload_is_stored_as_ever():
    import hashlib

    stored = msgspec.json.encode(WORKLOADS["mlp-scratch"])
    told = "ad0d2e5240fbe589282014bad209c999dc7ff375bf4b42277a18dd4d381a0596"
    assert hashlib.sha256(stored).hexdigest() == told
    assert scale.flop(WORKLOADS["mlp-scratch"]) == 209_453_056


# Figures of made records


def test_multiples_are_those_the_record_was_made_with():
    found = figures(record())
    for figure in found:
        fixed, share = SHAPES[figure.label]
        floor = figure.flop / FLOP_PER_NS
        assert figure.multiple.value == pytest.approx(share + fixed / floor, rel=1e-3)
        # The median of a round as made and one slower by a fifth; the warm-up round is left out.
        assert figure.floor_ns == pytest.approx(1.1 * floor, rel=1e-3)
        assert figure.step_ns == pytest.approx(1.1 * (fixed + share * floor), rel=1e-3)
    assert {f.verdict for f in found} == {"agree"}
    assert len(found) == 4 * 8


def test_a_compile_is_the_first_step_less_a_steady_one():
    found = figures(record())
    for label, compile_ns in COMPILE_NS.items():
        assert at(found, label, 256, 256).compile_ns == pytest.approx(compile_ns, abs=2)
    assert at(found, "numpy", 256, 256).compile_ns <= 2


def test_a_scan_is_compared_with_its_own_first_call():
    made = record(("numpy", "jax"))
    for each in made.cells:
        if each.label == "jax":
            step = each.rounds[1].step_ns[0]
            for r in each.rounds:
                r.at_once = 12
            each.first_step_ns = {
                str(each.batch): 1,
                f"{each.batch} x 12": 12 * round(step * 1.1) + 7_000_000,
            }
    figure = at(figures(made), "jax", 256, 256)
    assert figure.at_once == 12
    assert figure.compile_ns == pytest.approx(7_000_000, abs=100)


def test_exponents_are_one_without_a_fixed_cost_and_below_it_with_one():
    laws = {fit.label: fit.law for fit in fits(figures(record()))}
    assert laws[FLOOR].exponent == pytest.approx(1.0, abs=1e-3)
    assert laws[FLOOR].n == 8
    for label in SHAPES:
        assert laws[label].exponent < 1.0
        assert laws[label].low < laws[label].exponent < laws[label].high
    assert fits(figures(record(grid=GRID | {"widths": (64, 256), "batches": (32,)}))) == []


def test_a_compile_pays_from_the_first_step_on_that_is_no_dearer_in_all():
    made = record()
    found = figures(made)
    pays = break_evens(made, found)
    assert {each.label for each in pays} == {"jax", "tensorflow"}
    seen = {"never": 0, "pays": 0}
    for each in pays:
        this = at(found, each.label, each.width, each.batch)
        plain = [at(found, name, each.width, each.batch) for name in ("numpy", "torch")]
        other = min(plain, key=lambda figure: figure.step_ns)
        assert each.against == other.label
        if each.steps is None:
            seen["never"] += 1
            assert this.step_ns >= other.step_ns
            continue
        seen["pays"] += 1

        def total(steps, this=this, other=other):
            return this.compile_ns + steps * this.step_ns - steps * other.step_ns

        assert total(each.steps) <= 0 < total(each.steps - 1)
    assert all(seen.values())


def test_bars_are_for_widths_above_1024_only_and_every_cell_counts():
    made = record()
    by_label = {bar.label: bar for bar in bars(made, figures(made))}
    assert {bar.cells for bar in by_label.values()} == {4}
    assert {name: bar.bar for name, bar in by_label.items()} == BARS
    # torch at 2048 x 32: 1.2 + 80 us / 1.05 ms of floor.
    assert by_label["torch"].verdict == "met"
    assert (by_label["torch"].width, by_label["torch"].batch) == (2048, 32)
    assert by_label["torch"].largest == pytest.approx(1.2763, abs=1e-3)
    slow = at_cell(made, "torch", 4096, 256)
    for r in slow.rounds:
        r.step_ns = [round(1.2 * ns) for ns in r.step_ns]
    torch = {bar.label: bar for bar in bars(made, figures(made))}["torch"]
    assert (torch.verdict, torch.met) == ("missed", 3)
    narrow = record(grid=GRID | {"widths": (64, 1024)})
    assert {bar.verdict for bar in bars(narrow, figures(narrow))} == {"not measured"}


def at_cell(made: ScaleRecord, label: str, width: int, batch: int) -> Cell:
    return next(c for c in made.cells if (c.label, c.width, c.batch) == (label, width, batch))


def test_a_bar_is_missed_where_a_wide_cell_cannot_be_ranked():
    made = record()
    at_cell(made, "jax", 4096, 32).judged = judged(update=1e-3)
    jax = {bar.label: bar for bar in bars(made, figures(made))}["jax"]
    assert (jax.verdict, jax.met, jax.cells) == ("missed", 3, 4)


def spoil_numbers(spoilt: Cell) -> None:
    spoilt.judged = judged(gradients=3e-5)


def spoil_inputs(spoilt: Cell) -> None:
    spoilt.judged = judged(inputs=1.0)


def spoil_with_nan(spoilt: Cell) -> None:
    spoilt.judged = judged(forward="nan")


def no_distance(spoilt: Cell) -> None:
    spoilt.judged[1].distance = None
    spoilt.judged[1].problem = "shape (3,) where (4,) is wanted"


def too_fast(spoilt: Cell) -> None:
    for r in spoilt.rounds:
        r.step_ns = [round(0.9 * r.products_ns[0])] * 3


def other_parameters(spoilt: Cell) -> None:
    spoilt.rounds[1].replayed, spoilt.repeats = "b", True


def not_judged(spoilt: Cell) -> None:
    spoilt.judged = [j for j in spoilt.judged if j.rung != "update"]


def no_time_at_all(spoilt: Cell) -> None:
    for r in spoilt.rounds:
        r.step_ns = [0, -5]


def not_timed(spoilt: Cell) -> None:
    spoilt.rounds = spoilt.rounds[:1]


def died(spoilt: Cell) -> None:
    spoilt.failed, spoilt.rounds = "out of memory: bad_alloc", spoilt.rounds[:2]


@pytest.mark.parametrize(
    ("spoil", "verdict", "told"),
    [
        (spoil_numbers, "disagree", "gradients"),
        (spoil_inputs, "disagree", "inputs"),
        (spoil_with_nan, "disagree", "nan"),
        (no_distance, "disagree", "shape"),
        (too_fast, "void", "impossible"),
        (other_parameters, "void", "without a clock"),
        (not_judged, "not measured", "update"),
        (not_timed, "not measured", "rounds"),
        (no_time_at_all, "not measured", "rounds"),
        (died, "failed", "out of memory"),
    ],
)
def test_what_cannot_be_trusted_is_not_ranked(spoil, verdict, told):
    made = record()
    clean = figures(made)
    spoil(at_cell(made, "torch", 256, 256))
    found = figures(made)
    figure = at(found, "torch", 256, 256)
    assert figure.verdict == verdict
    assert told in figure.reason
    assert len(ranked(clean)) - len(ranked(found)) == 1
    shown = report.cell(figure)
    assert "ms" not in shown
    assert "µs" not in shown
    assert told in report.render(made, found, {})
    assert exit_status(made, found) == 1
    assert exit_status(made, clean) == 0


def test_what_does_not_repeat_itself_is_told_and_ranked():
    made = record()
    other_parameters(at_cell(made, "torch", 256, 256))
    at_cell(made, "torch", 256, 256).repeats = False
    found = figures(made)
    assert at(found, "torch", 256, 256).verdict == "agree"
    assert "does not repeat itself" in "\n".join(report.reasons(made, found))


def test_there_is_no_floor_without_numpy_and_the_times_stay():
    made = record()
    for each in made.cells:
        if each.label == "numpy":
            each.failed, each.rounds = "died of SIGKILL", []
    found = figures(made)
    torch = at(found, "torch", 256, 256)
    assert torch.verdict == "agree"
    assert torch.multiple is None
    assert torch.floor_ns is None
    assert "–" in report.cell(torch)
    assert FLOOR not in {fit.label for fit in fits(found)}
    assert {name for name, svg in report.draw(made, found).items() if svg} == {"time"}


def test_five_sessions_have_a_students_t_interval_and_four_do_not():
    from scipy import stats

    factors = (0.98, 1.0, 1.01, 1.03, 1.05)
    for count in (4, 5):
        made = record(sessions=count)
        for each in made.cells:
            if each.label == "torch":
                for r in each.rounds:
                    r.step_ns = [round(ns * factors[each.session]) for ns in r.step_ns]
        for each in made.cells:
            for r in each.rounds:
                r.session = each.session
        figure = at(figures(made), "torch", 4096, 256)
        fixed, share = SHAPES["torch"]
        truth = share + fixed / (figure.flop / FLOP_PER_NS)
        logs = np.log([truth * factor for factor in factors[:count]])
        low, high = stats.t.interval(0.95, count - 1, logs.mean(), stats.sem(logs))
        assert figure.multiple.value == pytest.approx(math.exp(logs.mean()), rel=1e-4)
        assert figure.multiple.low == pytest.approx(math.exp(low), rel=1e-4)
        assert figure.multiple.high == pytest.approx(math.exp(high), rel=1e-4)
        assert ("[" in report.cell(figure)) == (count == 5)
        assert any("Indicative" in text for text in report.warned(made)) == (count < 5)


def test_the_exit_status_tells_what_happened():
    made = record()
    found = figures(made)
    made.ended = INTERRUPTED
    assert exit_status(made, found) == 130
    made.ended = "OSError: no space"
    assert exit_status(made, found) == 3
    made.ended = FINISHED
    made.sessions[0].processes[1].status = "failed"
    assert exit_status(made, found) == 3


# Pages and pictures


@pytest.mark.parametrize("label", [HOSTILE, "_hidden", "\U0001f600", "x" * 500])
def test_hostile_labels_are_shown_and_steer_nothing(label):
    names = ("numpy", label)
    made = record(("numpy", "torch"))
    made.plan = msgspec.structs.replace(
        made.plan,
        plan=msgspec.structs.replace(
            made.plan.plan, labels=dict(zip(names, made.plan.plan.labels.values(), strict=True))
        ),
    )
    for each in made.cells:
        each.label = names[each.label == "torch"]
    at_cell(made, label, 64, 32).failed = HOSTILE
    made.sessions[0].processes[0].facts = {HOSTILE: HOSTILE}
    found = figures(made)
    page = report.render(made, found, {name: f"x-{name}.svg" for name in report.PICTURES})
    for raw in ("<script", "\x1b", "\u202e"):
        assert raw not in page
    (row,) = [line for line in page.splitlines() if line.startswith("| 64 | 32 | 0")]
    assert row.replace("\\|", "").count("|") == 7
    for svg in report.draw(made, found).values():
        root = ET.fromstring(svg)
        assert root.tag.endswith("svg")
        assert not root.findall(".//{*}script")
    assert json.loads(json.dumps(report.to_json(made, found, "x"), allow_nan=False))["cells"]


def test_the_same_record_gives_the_same_pictures():
    made = record(grid=GRID | {"threads": (2,)})
    found = figures(made)
    first = report.draw(made, found)
    assert first == report.draw(made, found)
    assert set(first) == {*report.PICTURES}
    texts = "".join(ET.fromstring(first["map"]).itertext())
    # Readable without colour: the number of every cell stands in it.
    assert f"{at(found, 'tensorflow', 4096, 256).multiple.value:.2f}" in texts
    for svg in first.values():
        assert all(label in "".join(ET.fromstring(svg).itertext()) for label in SHAPES)


def test_the_terminal_needs_80_columns_for_four_labels():
    from rich.console import Console

    made = record(grid=GRID | {"widths": scale.WIDTHS, "batches": scale.BATCHES})
    at_cell(made, "jax", 4096, 1024).judged = judged(update="inf")
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    report.show(made, figures(made), "x", console)
    console.file.close()
    text = console.export_text()
    rows = [line for line in text.splitlines() if "×" in line and line.lstrip()[:1].isdigit()]
    assert len(rows) >= 42
    assert "✗ update" in text
    assert "missed" in text


# The stored record


@given(st.integers(0, 3), st.sampled_from([*RUNGS]), st.floats(0, 1))
def test_a_record_comes_back_as_it_was_stored(count, rung, distance):
    made = record(("numpy",), grid=GRID | {"widths": (64,)})
    made.cells[0].judged = judged(**{rung: distance})
    made.cells[0].rounds = made.cells[0].rounds[:count]
    assert scale.decode(msgspec.json.encode(made), "x") == made


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r | {"schema": 2}, "schema 2"),
        (lambda r: r | {"schema": 0}, "schema 0"),
        (lambda r: r | {"more": 1}, "more"),
        (lambda r: r | {"plan": r["plan"] | {"widths": "64"}}, "widths"),
        (lambda r: r | {"cells": [r["cells"][0] | {"width": 65}]}, "width 65"),
        (lambda r: r | {"cells": [r["cells"][0] | {"label": "a|b"}]}, "a|b"),
        (lambda r: r | {"sessions": [r["sessions"][0] | {"threads": 3}]}, "3 threads"),
        (lambda r: r | {"plan": r["plan"] | {"threads": [0]}}, "below 1"),
        (lambda r: r | {"cells": [r["cells"][0] | {"session": 1}]}, "session 1"),
        (lambda r: r | {"cells": [r["cells"][0] | {"session": -1}]}, "not a whole record"),
    ],
)
def test_a_record_that_is_not_one_is_refused(tmp_path, change, told):
    stored = msgspec.to_builtins(record(("numpy",)))
    (tmp_path / scale.FILE).write_bytes(msgspec.json.encode(change(stored)))
    with pytest.raises(InputError, match=told.replace("|", r"\|")):
        scale.read(tmp_path)


def test_a_record_that_is_cut_off_or_missing_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        scale.read(tmp_path)
    (tmp_path / scale.FILE).write_bytes(msgspec.json.encode(record(("numpy",)))[:-9])
    with pytest.raises(InputError, match="not a whole record"):
        scale.read(tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--widths", "64,x"], "64,x"),
        (["--batches", "0"], "--batches"),
        (["--threads", "100000"], "--threads"),
        (["--rounds", "0"], "--rounds"),
        (["--sessions", "0"], "--sessions"),
        (["--backend", "caffe"], "caffe"),
        (["--page", "nowhere/at/all.md"], "--page"),
        (["--page", "."], "--page"),
        (["nowhere"], "nowhere"),
        (["nowhere", "--widths", "64"], "leave out"),
    ],
)
def test_unusable_words_end_in_one_line(tmp_path, words, told):
    done = harness("scale", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert told in line
    assert list(tmp_path.iterdir()) == []


# Real workers


def carry_out(tmp_path, small_data, progress=None, **words):
    settings = {"widths": "8", "batches": "16", "rounds": 2, "threads": "1", "backends": ("numpy",)}
    words = settings | {"data_dir": str(small_data), "timeout_s": 120.0} | words
    plan = scale.make_scale_plan(**words)
    return scale.run(plan, tmp_path / "results", progress or Silent())[0]


@needs("torch")
def test_a_grid_is_measured_stored_and_shown_again(tmp_path, small_data):
    page = tmp_path / "page.md"
    words = ["--widths", "64,8", "--batches", "16,32", "--rounds", "2", "--threads", "1"]
    words += ["--backend", "torch", "--data-dir", str(small_data), "--page", str(page), "--json"]
    done = harness("scale", *words, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    document = json.loads(done.stdout)
    made = scale.read(tmp_path / "results" / "runs" / document["run"])
    assert made.ended == FINISHED
    found = figures(made)
    assert [(f.width, f.batch, f.label) for f in found] == [
        (width, batch, label)
        for width in (8, 64)
        for batch in (16, 32)
        for label in ("numpy", "torch")
    ]
    # Times may be anything where others compute; numbers may not.
    assert {f.verdict for f in found} <= {"agree", "void"}
    for each in made.cells:
        assert {j.rung for j in each.judged} == {*RUNGS}
        assert all(r.digest == r.replayed for r in each.rounds)
        assert [r.digest is None for r in each.rounds] == [True, False, True]
        assert each.first_step_ns[str(each.batch)] > 0
        assert all(len(r.step_ns) == 12 and len(r.warmup_ns) == 18 for r in each.rounds)
    assert all(f.worst_share < 1 / 3 for f in found)
    assert all(f.floor_ns and f.multiple is not None for f in found)
    written = {
        "scale.html",
        "scale.md",
        "scale.json",
        "scale-time.svg",
        "scale-floor.svg",
        "scale-map.svg",
    }
    assert written <= {file.name for file in (tmp_path / "results/runs" / made.run).iterdir()}
    first = page.read_text()
    assert all((tmp_path / f"page-{name}.svg").is_file() for name in report.PICTURES)
    page.unlink()
    again = harness("scale", f"results/runs/{made.run}", "--page", "page.md", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert page.read_text() == first
    assert "torch" in again.stdout


def test_a_workers_parameters_and_batches_are_those_of_the_cell(tmp_path, small_data, monkeypatch):
    """The judge is asked about a workload of that size: its initial parameters are canonical."""
    asked = []
    initial = canonical.initial_params

    def remember(workload, seed):
        asked.append((workload.sizes["num_hiddens"], workload.batch_size))
        return initial(workload, seed)

    monkeypatch.setattr(scale.canonical, "initial_params", remember)
    made = carry_out(tmp_path, small_data, widths="8,24", batches="16")
    assert asked[-2:] == [(8, 16), (24, 16)]
    assert {f.verdict for f in figures(made)} <= {"agree", "void"}


@pytest.mark.parametrize(
    ("fault", "rung"),
    [("lr_one_per_mille", "update"), ("leaky_relu", "forward"), ("momentum", "loss")],
)
def test_a_planted_fault_is_shown_as_not_agreeing(tmp_path, small_data, fault, rung):
    made = carry_out(tmp_path, small_data, plants={"numpy": plant("numbers.py", fault)})
    (figure,) = figures(made)
    assert figure.verdict == "disagree"
    over = [j for j in made.cells[0].judged if report.share_of_limit(j) > 1]
    assert over[0].rung == rung
    assert report.cell(figure).startswith("✗")
    assert exit_status(made, [figure]) == 1
    assert "FAULT PLANTED" in "\n".join(report.warned(made))


def test_steps_that_are_not_done_are_void(tmp_path, small_data):
    made = carry_out(tmp_path, small_data, plants={"numpy": plant("steps.py", "cached")})
    (figure,) = figures(made)
    assert figure.verdict == "void"
    assert "without a clock" in figure.reason
    assert made.cells[0].repeats


@needs("torch")
def test_a_killed_worker_fails_from_there_on_and_the_others_go_on(tmp_path, small_data):
    made = carry_out(
        tmp_path,
        small_data,
        batches="16,32",
        backends=("torch",),
        plants={"numpy": plant("process.py", "killed")},
    )
    found = figures(made)
    assert [f.verdict for f in found if f.label == "numpy"] == ["failed", "failed"]
    assert all("SIGKILL" in f.reason for f in found if f.label == "numpy")
    assert {f.verdict for f in found if f.label == "torch"} <= {"agree", "void"}
    assert exit_status(made, found) == 3


def test_an_interrupted_run_keeps_what_was_measured(tmp_path, small_data):
    class Stopping(Silent):
        def phase(self, name, total):
            self.stops = name.startswith("cells")

        def advance(self, done):
            if self.stops:
                raise KeyboardInterrupt

    made = carry_out(tmp_path, small_data, Stopping(), widths="8,24")
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    assert scale.read(folder) == made
    assert made.ended == INTERRUPTED
    assert [(f.width, f.step_ns is not None) for f in figures(made)] == [(8, True)]
    assert exit_status(made, figures(made)) == 130


def test_other_threads_and_sessions_are_fresh_processes(tmp_path, small_data):
    from harness.plan.make import available_threads

    threads = "1,2" if available_threads() > 1 else "1"
    made = carry_out(tmp_path, small_data, threads=threads, sessions=2, rounds=1)
    counts = [session.threads for session in made.sessions]
    assert counts == [int(count) for count in threads.split(",") for _ in range(2)]
    for session in made.sessions:
        (process,) = session.processes
        assert process.status == "ok"
        assert process.facts["threads"].split(",")[0] == str(session.threads)
    assert [c.session for c in made.cells] == [*range(len(counts))]
    logs = [*(tmp_path / "results" / "runs" / made.run / "logs").glob("*.stderr.txt")]
    assert len(logs) == len(counts)
