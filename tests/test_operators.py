"""Single operators: every framework's own and the book's against float64, and what is drawn of it.

Everything goes through a worker: no framework is imported here.
"""

from __future__ import annotations

import math
import sys

import msgspec
import numpy as np
import pytest

from backends import BACKENDS
from harness.measure import operators
from harness.measure.operators import CATALOGUE, ELEMENTWISE, FORMS
from harness.plan.make import missing
from harness.record import store
from harness.record.schema import Operator
from harness.report import operators as report
from harness.report.run import as_markdown
from harness.verdict.verdict import judge
from harness.workers.launch import Worker, WorkerFailed, environment
from harness.workloads import WORKLOADS
from tests import make
from tests.conftest import needs

NAMES = [operator + form for operator in CATALOGUE for form in FORMS]
# Roundings of the dtype, in units of the truth's RMS: exp, a division and a sum or two make less
# than ten; 1 - tanh² cancels where tanh is near 1 and is 27 off in XLA's float32.
ROUNDINGS = 64
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
HOSTILE = "a|b\n<script>$x^{$ _[x](y)`\x1b[31m\u202e"


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
            self.found = {found.name: found for found in operators.measured(self.dtype, self.ask)}
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
        for dtype in UNIT
        for name in BACKENDS
        if not missing(name)
    }
    yield made
    for one in made.values():
        one.worker.end(grace_s=1)


def each(*names):
    return [pytest.param(name, marks=needs(name)) for name in names]


EVERY = pytest.mark.parametrize("name", each(*BACKENDS))


@pytest.mark.parametrize("dtype", list(UNIT))
@EVERY
def test_every_operator_is_within_rounding_of_the_truth_on_ordinary_points(asked, name, dtype):
    found = asked[name, dtype].measured()
    assert list(found) == NAMES
    for operator in found.values():
        assert (operator.absent, operator.problem) == (None, None)
        errors = operator.value_error, operator.derivative_error
        assert all(e <= ROUNDINGS * UNIT[dtype] for e in errors), (operator.name, errors)


@pytest.mark.parametrize("dtype", list(UNIT))
@EVERY
def test_the_books_expressions_are_other_code_than_the_operators(asked, name, dtype):
    """Were a form asked under the wrong name, both would overflow, or neither."""
    one = asked[name, dtype]
    for operator, points in (("tanh", ["-1000"]), ("softmax", ["[1000, 1000, 1000]"])):
        for point in points:
            assert all(math.isfinite(v) for v in one.at(operator, point)[0])
            assert all(math.isnan(v) for v in one.at(f"{operator}/scratch", point)[0])


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("operator", "point", "value", "derivative"),
    [
        ("relu", "0", [0], [0]),
        ("relu", "-0", [0], [0]),
        ("sigmoid", "-1000", [0], [0]),
        ("sigmoid/scratch", "-1000", [0], [NAN]),  # the book's has none far to the left
        ("cross_entropy", "[-1000, 0, 1000]", [2000], [-1, 0, 1]),
        ("cross_entropy/scratch", "[-1000, 0, 1000]", [INF], None),
        ("softmax", "[0, 0, 0]", [1 / 3] * 3, [2 / 9, -1 / 9, -1 / 9]),  # ties share equally
        ("softmax/scratch", "[0, 0, 0]", [1 / 3] * 3, [2 / 9, -1 / 9, -1 / 9]),
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
        ("gelu", {"0": np.ones(2)}, "ValueError: unknown operator 'gelu'; known: matmul, relu"),
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


# -- the truth and the catalogue -------------------------------------------------------------


@pytest.mark.parametrize("operator", CATALOGUE)
def test_the_derivatives_of_the_truth_are_those_of_its_values(operator):
    """Central differences of the truth's own values, at ordinary points off the kink."""
    call = operators.calls(operator, "float64")[0]
    n = call.ordinary
    arrays = [a[:n].copy() for a in call.arrays]
    weights = None if call.weights is None else call.weights[:n]
    value, *derivatives = operators.truth(operator, operators.Call(tuple(arrays), weights, n, ()))
    w = np.ones_like(value) if weights is None else weights
    step = 1e-5
    for which, derivative in enumerate(derivatives):
        direction = np.random.default_rng(1).standard_normal(arrays[which].shape)
        direction[arrays[which] == 0] = 0
        ahead, behind = (
            operators.truth(
                operator,
                operators.Call(
                    tuple(
                        a + sign * step * direction if i == which else a
                        for i, a in enumerate(arrays)
                    ),
                    weights,
                    n,
                    (),
                ),
            )[0]
            for sign in (1, -1)
        )
        slope = float((w * (ahead - behind)).sum() / (2 * step))
        at_kink = np.isnan(derivative)
        assert at_kink.sum() == (operator == "relu")
        assert slope == pytest.approx(float(np.sum(derivative * direction, where=~at_kink)), 1e-6)


@pytest.mark.parametrize(
    ("operator", "point", "value", "derivative"),
    [
        ("relu", "-inf", [0], [0]),
        ("sigmoid", "inf", [1], [0]),
        ("sigmoid", "-88.7", [3.0066e-39], [3.0066e-39]),
        ("tanh", "-1000", [-1], [0]),
        ("softmax", "[inf, 0, 0]", [1, 0, 0], [0, 0, 0]),
        (
            "softmax",
            "[88.7, -88.7, 0]",
            [1, 9.0396e-78, 3.0066e-39],
            [3.0066e-39, -9.0396e-78, -3.0066e-39],
        ),
        ("log_softmax", "[-1000, 0, 1000]", [-2000, -1000, 0], [1, 0, -1]),
        (
            "log_softmax",
            "[-inf, 0, 1]",
            [-math.inf, -1.3132617, -0.3132617],
            [1, -0.2689414, -0.7310586],
        ),
        ("cross_entropy", "[-inf, 0, 1]", [math.inf], [-1, 0.2689414, 0.7310586]),
        ("squared_error", "1e+30, 0", [5e59], [1e30, -1e30]),
        ("squared_error", "inf, -inf", [math.inf], [math.inf, -math.inf]),
    ],
)
def test_the_truth_at_special_points(operator, point, value, derivative):
    got = operators.wanted(operator, "float64")[point]
    assert got[0] == pytest.approx(value, rel=1e-4)
    assert got[1] == pytest.approx(derivative, rel=1e-4)


@pytest.mark.parametrize("point", ["[inf, inf, 0]", "[-inf, -inf, -inf]", "[nan, 0, 1]"])
@pytest.mark.parametrize("operator", ["softmax", "log_softmax", "cross_entropy"])
def test_where_mathematics_has_no_value_the_truth_has_none(operator, point):
    value, derivative = operators.wanted(operator, "float64")[point]
    assert all(math.isnan(v) for v in [*value, *derivative])


def answering(change=lambda name, answer: answer, dtype="float32"):
    """A made framework: the truth itself, rounded to the dtype, changed as asked."""

    def ask(name, tensors):
        operator = name.partition("/")[0]
        call = next(
            c
            for c in operators.calls(operator, dtype)
            if all(
                np.array_equal(a, tensors[str(i)], equal_nan=a.dtype.kind == "f")
                and np.array_equal(np.signbit(a), np.signbit(tensors[str(i)]))
                for i, a in enumerate(c.arrays)
            )
        )
        with np.errstate(over="ignore"):
            answer = [np.asarray(a, dtype=dtype) for a in operators.truth(operator, call)]
        return change(name, {str(i): a for i, a in enumerate(answer)})

    return list(operators.measured(dtype, ask))


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
        (lambda answer: {k: a[:3] for k, a in answer.items()}, "float32 (3,) where float32 (92,)"),
        (lambda answer: {k: a.astype(float) for k, a in answer.items()}, "float64 (92,) where"),
    ],
)
def test_an_answer_of_the_wrong_form_is_told_and_not_measured(change, problem):
    found = answering(lambda name, answer: change(answer) if name == "relu" else answer)
    relu = found[0]
    assert relu.name == "relu"
    assert problem in relu.problem
    assert (relu.value_error, relu.specials, relu.curve) == (None, [], None)
    assert all(o.problem is None for o in found[1:])


def test_an_operator_a_framework_lacks_is_absent_with_its_reason():
    def change(name, answer):
        return "no such operator" if name == "softmax" else answer

    found = {o.name: o for o in answering(change)}
    assert found["softmax"].absent == "no such operator"
    assert found["softmax/scratch"].absent is None


# -- stored, told and drawn ------------------------------------------------------------------


def made(**by_label: list[Operator]):
    stored = make.record(tuple(by_label))
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
    assert len(tanh.curve.value) == len(tanh.curve.derivative) == 81
    assert len(msgspec.json.encode(stored.results["numpy"].operators)) < 25_000


def test_the_tables_name_exactly_what_differs():
    found = report.measured(made(numpy=answering(), torch=answering(half_at_zero)))
    kinds = {(r[0], r[1], r[2]): (kind, r[3:]) for r, kind in report.special_rows(found)}
    kind, cells = kinds["relu", "0", "derivative"]
    assert kind == "frameworks"
    assert cells == ["0, ½ or 1: convention", "nan", "nan / 0.5"]
    assert kinds["relu", "1000", "derivative"] == ("", ["1", "1", "1"])
    assert kinds["softmax", "[inf, inf, 0]", "value"][1][0] == "none"
    assert {key[0] for key, (kind, _) in kinds.items() if kind} == {"relu"}


def test_what_only_the_book_does_in_every_framework_is_told_apart():
    found = report.measured(made(numpy=answering(half_at_zero), torch=answering(half_at_zero)))
    rows = {(r[0], r[1], r[2]): kind for r, kind in report.special_rows(found)}
    assert rows["relu", "0", "derivative"] == "book"
    assert set(rows.values()) == {"", "book"}


def test_rounding_is_no_difference_and_a_flushed_subnormal_is():
    def change(name, answer):
        flushed = np.where(np.abs(answer["0"]) < 1e-38, 0, answer["0"] * np.float32(1 + 1e-6))
        return answer | {"0": flushed.astype(np.float32)}

    found = report.measured(made(numpy=answering(), jax=answering(change)))
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
    text = shown.partition("## Single operators")[2].partition("\n## ")[0]
    for title in ("Where frameworks differ", "Largest error", "Every special point"):
        assert title in text
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(tables) > 150
    for line in tables:
        assert line.replace("\\|", "").count("|") in (5, 6, 7)


def test_a_record_without_operators_has_no_section_and_no_picture():
    stored = make.record()
    assert "Single operators" not in as_markdown(stored, judge(stored))
    assert report.curves(stored) == []


def test_the_picture_holds_every_label_operator_and_point():
    stored = made(numpy=answering(), torch=answering(half_at_zero))
    (plot,) = report.curves(stored)
    curves = [trace for trace in plot.traces if trace["mode"] == "lines"]
    assert [trace["name"] for trace in curves] == ["numpy", "torch"] * 2 * len(ELEMENTWISE)
    titles = {axis["title"]["text"] for name, axis in plot.layout.items() if "yaxis" in name}
    assert {f"{name}(x)" for name in ELEMENTWISE} < titles
    relu = stored.results["numpy"].operators[0].curve
    assert curves[0]["y"] == pytest.approx(relu.value, rel=1e-6)
    assert (curves[0]["x0"], curves[0]["dx"]) == (relu.start, (relu.stop - relu.start) / 80)
    assert [row[:2] for row in plot.rows[:2]] == [["numpy", "relu(x)"], ["torch", "relu(x)"]]


def test_a_difference_at_zero_is_marked_in_the_picture():
    (plot,) = report.curves(made(numpy=answering(), torch=answering(half_at_zero)))
    (ring,) = (trace for trace in plot.traces if trace["mode"] == "markers")
    assert (ring["name"], ring["xaxis"], ring["yaxis"]) == ("torch", "x2", "y2")
    # At 0 itself the truth, which answers as the framework's own, has no derivative.
    assert [*zip(ring["x"], ring["y"], strict=True)] == [(-1e-45, 0.5)]
    assert [row[-1] for row in plot.rows if row[1].startswith("d relu")] == ["–", "-1e-45"]
