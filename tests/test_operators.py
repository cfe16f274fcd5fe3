"""Single operators: every framework's own and the book's against float64, and what is drawn of it.

Everything goes through a worker: no framework is imported here.
"""

from __future__ import annotations

import functools
import math
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from backends import BACKENDS
from harness.errors import InputError
from harness.measure import operators
from harness.measure.catalogue import CATALOGUE
from harness.plan.make import missing
from harness.plan.model import Expected
from harness.record import store
from harness.record.operators import Operator
from harness.report import operators as report
from harness.report.operators import FORMS
from harness.report.run import as_markdown
from harness.verdict import expected_operators
from harness.verdict.operators import ORDINARY, judge_operators
from harness.verdict.verdict import exit_status, judge, to_json
from harness.workers.launch import Worker, WorkerFailed, environment
from harness.workloads import WORKLOADS
from tests import make
from tests.conftest import needs

DTYPES = ("float32", "float64")
DRAWN = [name for name, declared in CATALOGUE.items() if declared.drawn]
HOSTILE = "a|b\n<script>$x^{$ _[x](y)`\x1b[31m\u202e"


@functools.cache
def asked_of(dtype):
    """What every operator is asked in a dtype, with its truth, by name."""
    return {name: operators.asked(declared, dtype) for name, declared in CATALOGUE.items()}


def truths(*dtypes):
    return [
        operators.truth_of(name, CATALOGUE[name], dtype, calls)
        for dtype in dtypes
        for name, calls in asked_of(dtype).items()
    ]


def all_measured(dtype, ask, names=tuple(CATALOGUE)):
    """Every operator in its forms, as `ask` answers."""
    return [
        operators.measured(
            name + form, dtype, asked_of(dtype)[name], ask, drawn=CATALOGUE[name].drawn and not form
        )
        for name in names
        for form in CATALOGUE[name].forms
    ]


class Asked:
    """A worker of one backend in one dtype, and all that its operators gave."""

    def __init__(self, name, dtype, folder):
        entry = BACKENDS[name]
        self.dtype, self.folder = dtype, folder
        env = environment(2, dict(entry.environment))
        self.worker = Worker(name, "run", sys.executable, env, 2, folder, folder)
        self.worker.ask(
            "start",
            120,
            source=entry.source,
            device="cpu",
            dtype=dtype,
            threads=2,
            variant=entry.variants[0],
            workload=msgspec.to_builtins(WORKLOADS["mlp-scratch"]),
            plant=None,
            memory_headroom=None,
        )
        self.found = None

    def ask(self, name, tensors):
        told, found = self.worker.exchange("op", 60, tensors, name=name)
        return told["absent"] or found

    def measured(self):
        if self.found is None:
            self.worker.answer()
            self.found = {found.name: found for found in all_measured(self.dtype, self.ask)}
        return self.found

    def at(self, name, point):
        """Value and derivative at a special point, flat."""
        special = next(s for s in self.measured()[name].specials if s.point == point)
        return [float(v) for v in special.value], [float(v) for v in special.derivative]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """(backend, dtype) -> Asked, for those that are installed; all start at once."""
    made = {
        (name, dtype): Asked(name, dtype, tmp_path_factory.mktemp(f"{name}-{dtype}"))
        for dtype in DTYPES
        for name in BACKENDS
        if not missing(name)
    }
    yield made
    for one in made.values():
        one.worker.end(grace_s=1)


def each(*names):
    return [pytest.param(name, marks=needs(name)) for name in names]


NAMES = each(*BACKENDS)
EVERY = pytest.mark.parametrize("name", NAMES)
ENTROPIES = (
    "[0.25, 0.25, 0.25, 0.25]",
    "[0.1, 0.1, 0.1, 0.7]",
    "[0.001, 0.001, 0.001, 0.999]",
)


@EVERY
def test_every_operator_of_every_framework_agrees_but_for_what_is_expected(asked, name):
    stored = made(**{name: [o for d in DTYPES for o in asked[name, d].measured().values()]})
    judged = judge_operators(name, stored)
    assert [*judged] == [n + form for n, declared in CATALOGUE.items() for form in declared.forms]
    off = {n: of for n, of in judged.items() if of.verdict not in ("agree", "not-possible")}
    assert off == {}
    assert all(of.share < 1 for of in judged.values() if of.verdict == "agree")
    # Every entry for this framework was met: what is expected was seen, and not twice.
    known = [
        (operator, entry.what, point, dtype)
        for operator, entries in expected_operators.EXPECTED.items()
        for entry in entries
        if name in entry.frameworks
        for dtype in entry.dtypes
        for point in entry.gives
    ]
    seen = [
        (operator, unlike.what, unlike.point, unlike.dtype)
        for operator, of in judged.items()
        for unlike in of.differs
    ]
    assert sorted(known) == sorted(seen)


@pytest.mark.parametrize("dtype", list(DTYPES))
@EVERY
def test_the_books_expressions_are_other_code_than_the_operators(asked, name, dtype):
    """Were a form asked under the wrong name, both would overflow, or neither."""
    one = asked[name, dtype]
    for operator, points in (("tanh", ["-1000"]), ("softmax", ["[1000, 1000, 1000]"])):
        for point in points:
            assert all(math.isfinite(v) for v in one.at(operator, point)[0])
            assert all(math.isnan(v) for v in one.at(f"{operator}/scratch", point)[0])


NAN, INF = math.nan, math.inf
JACOBIAN = [*(2 / 9, -1 / 9, -1 / 9), *(-1 / 9, 2 / 9, -1 / 9), *(-1 / 9, -1 / 9, 2 / 9)]


@pytest.mark.parametrize(
    ("operator", "point", "value", "derivative"),
    [
        ("relu", "0", [0], [0]),
        ("relu", "-0", [0], [0]),
        ("sigmoid", "-1000", [0], [0]),
        ("sigmoid/scratch", "-1000", [0], [NAN]),  # the book's has none far to the left
        ("cross_entropy", "[-1000, 0, 1000]", [2000], [-1, 0, 1]),
        ("cross_entropy/scratch", "[-1000, 0, 1000]", [INF], None),
        ("softmax", "[0, 0, 0]", [1 / 3] * 3, JACOBIAN),  # ties share equally
        ("softmax/scratch", "[0, 0, 0]", [1 / 3] * 3, JACOBIAN),
    ],
)
@EVERY
def test_every_framework_gives_the_same_at_these_points(
    asked, name, operator, point, value, derivative
):
    got = asked[name, "float32"].at(operator, point)
    np.testing.assert_allclose(got[0], value, rtol=1e-6)
    if derivative is not None:
        np.testing.assert_allclose(got[1], derivative, rtol=1e-6)


@pytest.mark.parametrize(
    ("operator", "point", "slopes"),
    [
        ("relu/scratch", "0", {"numpy": 0.5, "torch": 0.5, "jax": 0.5, "tensorflow": 1.0}),
        ("relu", "nan", {"numpy": 1.0, "torch": 1.0, "jax": 0.0, "tensorflow": 0.0}),
    ],
)
@EVERY
def test_a_convention_of_relu_differs_and_is_stored_as_it_is(asked, name, operator, point, slopes):
    value, derivative = asked[name, "float32"].at(operator, point)
    assert derivative == [slopes[name]]
    assert value == pytest.approx([float(point)], nan_ok=True)


@pytest.mark.parametrize("form", FORMS)
@EVERY
def test_labels_stay_integers_and_have_no_derivative(asked, name, form):
    one = asked[name, "float32"]
    one.measured()
    x = np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    given = {"0": x, "1": np.array([2, 0])}
    answer = one.ask(f"cross_entropy{form}", given)
    assert {k: (a.shape, str(a.dtype)) for k, a in answer.items()} == {
        "0": ((), "float32"),
        "1": ((2, 3), "float32"),
    }
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answer["0"], -np.log(p[[0, 1], [2, 0]]).mean(), rtol=1e-6)
    np.testing.assert_allclose(answer["1"], (p - np.eye(3)[[2, 0]]) / 2, rtol=1e-5)


@EVERY
def test_weights_choose_what_is_derived_and_are_one_by_default(asked, name):
    one = asked[name, "float64"]
    one.measured()
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    weights = np.zeros((2, 4))
    weights[1, 2] = 3
    plain = one.ask("matmul", {"0": a, "1": b})
    chosen = one.ask("matmul", {"0": a, "1": b, "weights": weights})
    for answer, w in ((plain, np.ones((2, 4))), (chosen, weights)):
        np.testing.assert_array_equal(answer["0"], a @ b)
        np.testing.assert_array_equal(answer["1"], w @ b.T)
        np.testing.assert_array_equal(answer["2"], a.T @ w)


@pytest.mark.parametrize(
    ("operator", "tensors", "told"),
    [
        ("swish", {"0": np.ones(2)}, "ValueError: unknown operator 'swish'; known: matmul, step"),
        ("relu/Scratch", {"0": np.ones(2)}, "unknown operator 'relu/Scratch'"),
        ("relu", {"0": np.ones(2), "weights": np.ones(1)}, "weights: shape (1,), value (2,)"),
    ],
)
@EVERY
def test_an_unknown_name_and_weights_of_another_shape_are_refused(
    asked, name, operator, tensors, told
):
    one = asked[name, "float64"]
    one.measured()
    with pytest.raises(WorkerFailed, match="ValueError") as caught:
        one.ask(operator, tensors)
    assert told in str(caught.value)


# -- faults ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A NumPy process whose operators are planted with faults, one after another."""
    one = Asked("numpy", "float32", tmp_path_factory.mktemp("planted"))
    one.worker.answer()
    yield one
    one.worker.end(grace_s=1)


FAULTS = {  # of tests/faults/operators.py: where each is seen first
    "step": ("value", "0"),
    "relu": ("derivative", "0"),
    "sigmoid": ("derivative", "-1000"),
    "tanh": ("derivative", ORDINARY),
    "softmax": ("derivative", ORDINARY),
    "log_softmax": ("value", "[88.7, 88.7, 88.7]"),
    "cross_entropy": ("value", ORDINARY),
    "gelu": ("value", ORDINARY),
    "gelu_tanh": ("value", ORDINARY),
    "softmax_log_nll": ("value", ORDINARY),
    "squared_error": ("derivative 2", ORDINARY),
    "entropy": ("value", "[0.001, 0.001, 0.001, 0.999]"),
    "sum": ("value", ORDINARY),
    "mean": ("derivative", ORDINARY),
    "norm": ("derivative", "[0, 0, 0]"),
    "perceptron": ("derivative 3", ORDINARY),
    "perceptron_two": ("value", ORDINARY),
    "chain": ("derivative 2", ORDINARY),
    "conv": ("value", ORDINARY),
    "max_pool": ("value", ORDINARY),
    "avg_pool": ("value", ORDINARY),
    "avg_pool_inside": ("value", ORDINARY),
    "batch_norm": ("derivative", ORDINARY),
    "batch_norm_evaluation": ("value", ORDINARY),
    "batch_norm_running": ("value", ORDINARY),
    "dropout": ("value", ORDINARY),
    "layer_norm": ("value", ORDINARY),
}


@pytest.mark.parametrize("operator", CATALOGUE)
def test_a_wrong_formula_planted_in_an_operator_is_found_at_its_point(planted, operator):
    plant = str(Path(__file__).parent / "faults" / f"operators.py:{operator}")
    planted.worker.call("plant", 60, plant=plant)
    stored = made(numpy=all_measured("float32", planted.ask))
    judged = judge(stored)
    off = {n: of for n, of in judged.labels["numpy"].operators.items() if of.verdict == "disagree"}
    assert [*off] == [operator]
    counts = [unlike for unlike in off[operator].differs if unlike.expected is None]
    assert (counts[0].what, counts[0].point) == FAULTS[operator]
    assert judged.verdict == "disagree"
    assert exit_status(stored, judged) == 1
    for word in ("numpy disagrees", f"operator {operator}", *FAULTS[operator]):
        assert word in judged.summary
    written = to_json(stored, judged, "x")["operators"]["numpy"]
    assert written[operator]["verdict"] == "disagree"
    assert {of["verdict"] for name, of in written.items() if name != operator} == {"agree"}
    shown = as_markdown(stored, judged).partition("Does each agree?")[2].replace("\\", "")
    assert f"✗ numpy, {operator}: {counts[0].sentence}" in shown


# -- the verdict -----------------------------------------------------------------------------


def as_expected(name, answer, slope=0.5):
    """The answers of a framework whose only fault is the book's relu at 0."""
    if name == "relu/scratch":
        (x,) = asked_of("float32")["relu"][0].call.arrays
        answer["1"] = np.where(x == 0, np.float32(slope), answer["1"])
    return answer


def test_what_is_expected_agrees_with_its_reason_and_what_is_gone_does_not():
    """A process that gives the truth everywhere lacks every difference that is expected of it."""
    stored = made(numpy=answering())
    judged = judge_operators("numpy", stored)
    assert {n for n, of in judged.items() if of.verdict == "disagree"} == {
        n
        for n, entries in expected_operators.EXPECTED.items()
        if any("numpy" in e.frameworks and "float32" in e.dtypes for e in entries)
    }
    assert all(of.gone for of in judged.values() if of.verdict == "disagree")
    (first, *_) = judged["relu/scratch"].gone
    for word in ("derivative at 0", expected_operators.TIE_SHARED, "take it off the list"):
        assert word in first
    assert exit_status(stored, judge(stored)) == 1
    stored = made(numpy=answering(as_expected))
    assert not judge_operators("numpy", stored)["relu/scratch"].gone
    (at_0, *_) = judge_operators("numpy", stored)["relu/scratch"].differs
    assert (at_0.point, at_0.gives, at_0.expected) == ("0", "0.5", expected_operators.TIE_SHARED)


def test_an_expected_difference_of_another_size_counts():
    stored = made(numpy=answering(functools.partial(as_expected, slope=0.25)))
    judged = judge_operators("numpy", stored)["relu/scratch"]
    assert judged.differs[0].expected is None
    assert judged.sentence.startswith("float32: derivative at 0 is 0.25, true 0")


def test_nothing_is_expected_of_another_backend_whatever_it_is_called():
    stored = made(numpy=answering(as_expected))
    stored.plan.labels["numpy"] = make.label("numpy", origin="file")
    judged = judge_operators("numpy", stored)
    assert {n for n, of in judged.items() if of.verdict == "disagree"} == {"relu/scratch"}
    assert not any(of.gone for of in judged.values())


def test_products_of_reduced_precision_and_records_without_truths_are_not_judged():
    for change in (
        lambda stored: stored.truths.clear(),
        lambda stored: stored.plan.labels.update(torch=make.label("torch", precision="tf32")),
    ):
        stored = made(torch=answering())
        change(stored)
        assert {of.verdict for of in judge_operators("torch", stored).values()} == {"inconclusive"}
        assert judge(stored).verdict == "agree"


def test_an_operator_that_cannot_be_measured_disagrees_and_an_absent_one_does_not():
    found = {o.name: o for o in answering(as_expected)}
    problem = "1 arrays where 2 are wanted"
    found["relu"] = Operator(name="relu", dtype="float32", problem=problem)
    found["sigmoid"] = Operator(name="sigmoid", dtype="float32", absent="it has none")
    judged = judge_operators("numpy", made(numpy=[*found.values()]))
    assert (judged["relu"].verdict, judged["sigmoid"].verdict) == ("disagree", "not-possible")
    assert judged["relu"].sentence == "float32: 1 arrays where 2 are wanted"
    assert judged["sigmoid"].sentence == "it has none"


# -- the truth and the catalogue -------------------------------------------------------------


# Arguments at the end that are constants: running statistics, and all that moves them.
HELD = {"batch_norm_evaluation": 2, "batch_norm_running": 3}


@pytest.mark.parametrize("operator", CATALOGUE)
def test_the_derivatives_of_the_truth_are_those_of_its_values(operator):
    """Central differences of the truth's own values, at ordinary points: none is at a kink."""
    truth = CATALOGUE[operator].truth
    call = CATALOGUE[operator].calls("float64")[0]
    arrays, weights = call.arrays, call.weights
    if call.points:
        arrays = [a[: call.ordinary] for a in arrays]
        weights = None if weights is None else weights[: call.ordinary]
    value, *derivatives = truth(arrays, weights)
    w = np.ones_like(value) if weights is None else weights
    step, floats = 1e-5, [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    held = HELD.get(operator, 0)
    assert all(not d.any() for d in derivatives[len(derivatives) - held :])
    for which, derivative in [*zip(floats, derivatives, strict=True)][: len(floats) - held]:
        direction = np.random.default_rng(1).standard_normal(arrays[which].shape)
        ahead, behind = (
            truth([*arrays[:which], arrays[which] + h * direction, *arrays[which + 1 :]], weights)[
                0
            ]
            for h in (step, -step)
        )
        slope = float((w * (ahead - behind)).sum() / (2 * step))
        assert slope == pytest.approx(float(np.sum(derivative * direction)), 1e-6)


@pytest.mark.parametrize(
    ("operator", "point", "value", "derivative"),
    [
        ("relu", "-inf", [0], [0]),
        ("sigmoid", "inf", [1], [0]),
        ("sigmoid", "-88.7", [3.0066e-39], [3.0066e-39]),
        ("tanh", "-1000", [-1], [0]),
        ("relu", "0", [0], [0]),
        ("relu", "nan", [NAN], [NAN]),
        ("softmax", "[inf, 0, 0]", [1, 0, 0], [0] * 9),
        (
            "softmax",
            "[88.7, -88.7, 0]",
            [1, 9.0396e-78, 3.0066e-39],
            [
                *(3.0066e-39, -9.0396e-78, -3.0066e-39),
                *(-9.0396e-78, 9.0396e-78, -2.7179e-116),
                *(-3.0066e-39, -2.7179e-116, 3.0066e-39),
            ],
        ),
        (
            "log_softmax",
            "[-1000, 0, 1000]",
            [-2000, -1000, 0],
            [1, 0, -1, 0, 1, -1, 0, 0, 0],
        ),
        (
            "log_softmax",
            "[-inf, 0, 1]",
            [-math.inf, -1.3132617, -0.3132617],
            [1, -0.2689414, -0.7310586, 0, 0.7310586, -0.7310586, 0, -0.2689414, 0.2689414],
        ),
        ("cross_entropy", "[-inf, 0, 1]", [math.inf], [-1, 0.2689414, 0.7310586]),
        ("step", "0", [0], [0]),
        ("step", "1e-45", [1], [0]),
        ("gelu", "-inf", [0], [0]),
        ("gelu_tanh", "inf", [INF], [1]),
        ("gelu", "88.7", [88.7], [1]),
        ("softmax_log_nll", "[-1000, 0, 1000]", [2000], [-1, 0, 1]),
        ("entropy", "[0.25, 0.25, 0.25, 0.25]", [2], [2 - 1 / math.log(2)] * 4),
        ("mean", "[2e+38, 2e+38, 2e+38]", [2e38], [1 / 3] * 3),
        ("norm", "[0, 0, 0]", [0], [0, 0, 0]),
        ("norm", "[3e+30, 4e+30, 0]", [5e30], [0.6, 0.8, 0]),
        ("squared_error", "1e+30, 0", [5e59], [1e30, -1e30]),
        ("squared_error", "inf, -inf", [math.inf], [math.inf, -math.inf]),
    ],
)
def test_the_truth_at_special_points(operator, point, value, derivative):
    got = true_at(operator, point)
    assert got[0] == pytest.approx(value, rel=1e-4, abs=0, nan_ok=True)
    assert got[1] == pytest.approx(derivative, rel=1e-4, abs=0, nan_ok=True)


def true_at(operator, point, dtype="float64"):
    """Value and derivative of the stored truth, flat."""
    (truth,) = (t for t in truths(dtype) if t.operator == operator)
    at = next(p for p in truth.points if p.point == point)
    return [float(v) for v in at.value], [float(v) for v in at.derivative]


def test_the_entropies_of_the_text_are_those_in_bits():
    bits = [true_at("entropy", point)[0][0] for point in ENTROPIES]
    assert bits == pytest.approx([2, 1.3568, 0.0313], abs=5e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_unstable_way_to_a_cross_entropy_loses_where_that_from_logits_does_not(asked, name):
    """And the table shows where."""
    for dtype in DTYPES:
        one = asked[name, dtype]
        assert one.at("cross_entropy", "[-1000, 0, 1000]") == ([2000], [-1, 0, 1])
        value, derivative = one.at("softmax_log_nll", "[-1000, 0, 1000]")
        assert value == [INF]
        assert np.isnan(derivative).all()
    found = [o for d in DTYPES for o in asked[name, d].measured().values()]
    stored = made(**{name: found})
    rows = [row[0] for row in report.special_rows(stored)]
    assert ["softmax_log_nll", "[-1000, 0, 1000]", "value", "2000", "inf"] in rows
    assert ["cross_entropy", "[-1000, 0, 1000]", "value", "2000", "2000 / inf"] in rows
    lost = {
        (unlike.dtype, unlike.point, unlike.what): (unlike.gives, unlike.expected)
        for unlike in judge_operators(name, stored)["softmax_log_nll"].differs
    }
    for dtype in DTYPES:
        given = lost[dtype, "[-1000, 0, 1000]", "value"]
        assert given == ("inf", expected_operators.LOG_OF_ZERO)


@pytest.mark.parametrize("point", ["[inf, inf, 0]", "[-inf, -inf, -inf]", "[nan, 0, 1]"])
@pytest.mark.parametrize("operator", ["softmax", "log_softmax", "cross_entropy"])
def test_where_mathematics_has_no_value_the_truth_has_none(operator, point):
    value, derivative = true_at(operator, point)
    assert all(math.isnan(v) for v in [*value, *derivative])


def answering(change=lambda name, answer: answer, dtype="float32"):
    """A made framework: the truth itself, rounded to the dtype, changed as asked."""

    def ask(name, tensors):
        arrays = [tensors[str(i)] for i in range(len(tensors) - ("weights" in tensors))]
        wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
        weights = tensors.get("weights")
        with np.errstate(all="ignore"):
            true = CATALOGUE[name.partition("/")[0]].truth(
                wide, None if weights is None else weights.astype(np.float64)
            )
            answer = [np.asarray(a, dtype=dtype) for a in true]
        return change(name, {str(i): a for i, a in enumerate(answer)})

    return all_measured(dtype, ask)


def test_an_error_is_seen_in_its_own_figure_only():
    def change(name, answer):
        if name == "tanh":
            answer["1"] = answer["1"] + np.float32(0.01)
        return answer

    found = {o.name: o for o in answering(change)}
    assert found["tanh"].derivative_error > 1e-2
    assert found["tanh"].value_error < 1e-7
    assert found["tanh/scratch"].derivative_error < 2e-7


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda answer: {"0": answer["0"]}, "1 arrays where 2 are wanted"),
        (lambda answer: {k: a[:3] for k, a in answer.items()}, "float32 (3,) where float32 (91,)"),
        (lambda answer: {k: a.astype(float) for k, a in answer.items()}, "float64 (91,) where"),
    ],
)
def test_an_answer_of_the_wrong_form_is_told_and_not_measured(change, problem):
    found = answering(lambda name, answer: change(answer) if name == "relu" else answer)
    (relu,) = (o for o in found if o.name == "relu")
    assert problem in relu.problem
    assert (relu.value_error, relu.specials, relu.curve) == (None, [], None)
    assert all(o.problem is None for o in found if o.name != "relu")


def test_an_operator_a_framework_lacks_is_absent_with_its_reason():
    def change(name, answer):
        return "no such operator" if name == "softmax" else answer

    found = {o.name: o for o in answering(change)}
    assert found["softmax"].absent == "no such operator"
    assert found["softmax/scratch"].absent is None


# -- stored, told and drawn ------------------------------------------------------------------


def made(**by_label: list[Operator]):
    """A record with the truths of the dtypes that were asked."""
    stored = make.record(tuple(by_label))
    stored.truths = truths(*sorted({o.dtype for of in by_label.values() for o in of} & {*DTYPES}))
    for label, found in by_label.items():
        stored.results[label].operators = found
    return store.decode(store.encode(stored), "made")


def half_at_zero(name, answer):
    """The book's relu with derivative 1/2 wherever its value is 0; own operators untouched."""
    if name == "relu/scratch":
        answer["1"] = np.where(answer["0"] == 0, np.float32(0.5), answer["1"])
    return answer


def test_a_record_keeps_what_is_not_finite_and_the_sign_of_zero():
    stored = made(numpy=answering())
    relu, tanh = (
        next(o for o in stored.results["numpy"].operators if o.name == name)
        for name in ("relu", "tanh")
    )
    at = {s.point: s for s in tanh.specials}
    assert math.copysign(1, at["-0"].value[0]) == -1
    assert math.copysign(1, at["0"].value[0]) == 1
    assert at["nan"].value == ["nan"]
    assert {s.point: s.value for s in relu.specials}["inf"] == ["inf"]
    assert len(tanh.curve.value) == len(tanh.curve.derivative) == 80
    assert len(msgspec.json.encode(stored.results["numpy"].operators)) < 60_000
    assert len(msgspec.json.encode(stored.truths)) < 90_000


def test_the_tables_name_exactly_what_differs():
    found = made(numpy=answering(), torch=answering(half_at_zero))
    kinds = {(r[0], r[1], r[2]): (kind, r[3:]) for r, kind in report.special_rows(found)}
    kind, cells = kinds["relu", "0", "derivative"]
    assert kind == "frameworks"
    assert cells == ["0", "0", "0 / 0.5"]
    assert kinds["relu", "1000", "derivative"] == ("", ["1", "1", "1"])
    assert kinds["softmax", "[inf, inf, 0]", "value"][1][0] == "none"
    assert {key[0] for key, (kind, _) in kinds.items() if kind} == {"relu"}


def test_what_only_the_book_does_in_every_framework_is_told_apart():
    found = made(numpy=answering(half_at_zero), torch=answering(half_at_zero))
    rows = {(r[0], r[1], r[2]): kind for r, kind in report.special_rows(found)}
    assert rows["relu", "0", "derivative"] == "book"
    assert set(rows.values()) == {"", "book"}


def test_rounding_is_no_difference_and_a_flushed_subnormal_is():
    def change(name, answer):
        flushed = np.where(np.abs(answer["0"]) < 1e-38, 0, answer["0"] * np.float32(1 + 1e-6))
        return answer | {"0": flushed.astype(np.float32)}

    found = made(numpy=answering(), jax=answering(change))
    apart = [r[:3] for r, kind in report.special_rows(found) if kind]
    assert ["relu", "1e-45", "value"] in apart
    assert ["sigmoid", "-88.7", "value"] in apart
    assert ["sigmoid", "0", "value"] not in apart


def test_the_section_holds_every_table_and_escapes_what_a_record_says():
    found = answering(half_at_zero)
    found[2] = Operator(name=HOSTILE, dtype="float32", absent=HOSTILE)
    found[0].specials[0].point = HOSTILE
    stored = made(**{HOSTILE: found, "torch": answering()})
    shown = as_markdown(stored, judge(stored))
    text = shown.partition("<summary>Single operators<")[2]
    text = text.partition("<summary>Where the limits come from<")[0]
    for title in ("Where frameworks differ", "Largest error", "Every special point"):
        assert title in text
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(tables) > 150
    for line in tables:
        assert line.replace("\\|", "").count("|") in (4, 5, 6, 7)


def test_a_record_without_operators_has_no_section_and_no_picture():
    stored = make.record()
    assert "Single operators" not in as_markdown(stored, judge(stored))
    assert report.curves(stored) == []


def test_the_picture_holds_every_label_operator_and_point():
    stored = made(numpy=answering(), torch=answering(half_at_zero))
    (plot,) = report.curves(stored)
    curves = [trace for trace in plot.traces if trace["mode"] == "lines"]
    assert [trace["name"] for trace in curves] == ["numpy", "torch"] * 2 * len(DRAWN)
    titles = {axis["title"]["text"] for name, axis in plot.layout.items() if "yaxis" in name}
    assert {f"{name}(x)" for name in DRAWN} < titles
    step = stored.results["numpy"].operators[0].curve
    assert curves[0]["y"] == pytest.approx(step.value, rel=1e-6)
    assert (curves[0]["x0"], curves[0]["dx"]) == (
        step.start,
        pytest.approx((step.stop - step.start) / 79),
    )
    assert [row[:2] for row in plot.rows[:2]] == [["numpy", "step(x)"], ["torch", "step(x)"]]


def test_a_difference_at_zero_is_marked_in_the_picture():
    (plot,) = report.curves(made(numpy=answering(), torch=answering(half_at_zero)))
    (ring,) = (trace for trace in plot.traces if trace["mode"] == "markers")
    assert (ring["name"], ring["xaxis"], ring["yaxis"]) == ("torch", "x4", "y4")
    assert [*zip(ring["x"], ring["y"], strict=True)] == [(0, 0.5), (0, 0.5), (-1e-45, 0.5)]
    assert [row[-1] for row in plot.rows if row[1].startswith("d relu")] == ["–", "0, -1e-45"]


# -- what packages bring, and what is declared -----------------------------------------------

BROUGHT = Path(__file__).parent / "brought"


def test_an_entry_point_brings_an_operator_with_its_truth(tmp_path, monkeypatch):
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    points = "softsign = softsign:Softsign\nrelu = softsign:Softsign\n"
    (info / "entry_points.txt").write_text(f"[harness.operators]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    # A built-in name stays the built-in, nothing is imported, and only who asks is given them.
    assert make.make_plan(operators=True).brought == {"softsign": "softsign:Softsign"}
    assert make.make_plan().brought == {}
    assert "softsign" not in sys.modules


def session(run_plan, monkeypatch, brought, **words):
    """A short run of NumPy and torch whose only operators are what a package brings."""
    monkeypatch.setenv("PYTHONPATH", str(BROUGHT))
    monkeypatch.setattr("harness.run.operators.CATALOGUE", {})
    change = {"operators": True, "brought": {"softsign": f"softsign:{brought}"}}
    return run_plan(backends=("numpy", "torch"), change=change, **words)


@needs("torch")
def test_what_a_package_brings_is_judged_in_every_process(run_plan, monkeypatch):
    """torch's softsign is inf / inf at infinity."""
    outcome = session(run_plan, monkeypatch, "Softsign")
    found = outcome.json["operators"]
    assert (found["numpy"]["softsign"]["verdict"], found["numpy"]["softsign"]["differs"]) == (
        "agree",
        [],
    )
    given = [
        (u["dtype"], u["point"], u["what"], u["gives"])
        for u in found["torch"]["softsign"]["differs"]
    ]
    assert given[0] == ("float32", "inf", "value", "nan")
    assert {point for _, point, _, _ in given} == {"inf"}
    assert {dtype for dtype, *_ in given} == {*DTYPES}
    assert outcome.exit_status == 1
    assert (
        "torch disagrees: torch, operator softsign: float32: value at inf"
        in outcome.json["summary"]
    )


@needs("torch")
def test_a_wrong_one_is_found_and_one_without_a_function_is_told(run_plan, monkeypatch):
    outcome = session(run_plan, monkeypatch, "Wrong")
    found = outcome.json["operators"]
    assert found["numpy"]["softsign"]["verdict"] == "disagree"
    assert found["numpy"]["softsign"]["reason"].startswith("float32: derivative")
    assert found["torch"]["softsign"]["verdict"] == "not-possible"
    assert "unknown operator 'softsign'" in found["torch"]["softsign"]["reason"]


def test_a_truth_that_fails_stops_the_run_and_is_named(run_plan, monkeypatch):
    outcome = session(run_plan, monkeypatch, "Broken")
    assert outcome.json["verdict"] == "failed"
    for word in ("the operator softsign:Broken failed", "no truth today"):
        assert word in outcome.json["summary"]


def test_a_difference_of_an_operator_may_be_declared_and_fails_once_it_is_gone():
    expect = (Expected("numpy", "relu/scratch", "shared at 0"),)
    for slope, verdict in ((0.25, "agree"), (0.5, "disagree")):
        stored = made(numpy=answering(functools.partial(as_expected, slope=slope)))
        stored.plan = msgspec.structs.replace(stored.plan, expect=expect)
        judged = judge(stored).labels["numpy"].operators["relu/scratch"]
        assert judged.verdict == verdict
    assert judged.gone == ["a difference was declared (shared at 0): take the declaration back"]
    # Of labels by a pattern one is enough.
    of = {"numpy": 0.5, "torch": 0.25}
    answers = {
        name: answering(functools.partial(as_expected, slope=slope)) for name, slope in of.items()
    }
    stored = made(**answers)
    for label, verdict in (("*", "agree"), ("n*", "disagree")):
        known = (Expected(label, "relu/scratch", "shared at 0"),)
        stored.plan = msgspec.structs.replace(stored.plan, expect=known)
        assert judge(stored).labels["numpy"].operators["relu/scratch"].verdict == verdict
    asked = make.make_plan(operators=True, expect=expect)
    assert asked.expect == expect
    with pytest.raises(InputError, match="relu/scratch"):
        make.make_plan(expect=expect)
