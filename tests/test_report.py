"""Reports say what the verdict says, loudly where they must, and a record cannot steer them."""

from __future__ import annotations

import io
import re
import unicodedata
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness import export as formats
from harness.export.shown import Run as Stored
from harness.plan.model import Expected
from harness.record.schema import Failure, Record, Told, Worst
from harness.report import learnt, markdown, run_tables, tables, words
from harness.report import page as pages_of_reports
from harness.report.plots import pictures
from harness.report.run import as_markdown, summary
from harness.report.run import report as report_of
from harness.report.run_tables import Run
from harness.report.sections import Cell, Report, Section
from harness.report.terminal import show
from harness.text import clean, short
from harness.verdict.verdict import judge, to_json
from harness.workloads.reference.limits import RUNGS
from tests import make, pages
from tests.pages import Page


def terminal(made: Record, width: int = 200) -> str:
    out = io.StringIO()
    show(summary(made, judge(made), Path("results/runs/x")), Console(file=out, width=width))
    return out.getvalue()


def report(made: Record) -> str:
    return as_markdown(made, judge(made))


BIDI = "\u202e\u2066\u200f\u200b"
HOSTILE = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "entity": "&lt;script&gt; &#60;b&#62;",
    "pipe": "a|b||c",
    "newline": "one\n\n# two\r\nthree\u2028four\x85five\x0bsix",
    "backticks": "```\ncode\n``` `x`",
    "link": "[click](javascript:alert(1)) ![i](http://x/y.png)",
    "bidi": f"user{BIDI}txt",
    "control": "\x1b[2J\x1b[31m\x07\x00\x9b1m bell",
    "backslash": "\\|\\<script>",
    "markup": "[bold]loud[/bold]",
    "long": "x" * 100_000,
}


def hostile(text: str) -> Record:
    """A record with a text in every place that takes one."""
    made = make.record(
        ("numpy", "torch", text),
        machine={text: text},
        dataset=make.dataset(name=text),
        run=text,
        ended=text or "x",
    )
    made.plan.labels["numpy"] = make.label("numpy", plant=text)
    make.fail(made, "torch", text)
    made.results["numpy"].processes[0].facts = {text: text, f"version:{text}": text}
    found = make.find(made, "numpy", "forward")
    found.problem, found.distance, found.tensor, found.case = text, None, text, text
    other = make.find(made, text, "gradients")
    other.distance, other.tensor = 1.0, text
    other.worst = Worst(index=[1], got="nan", want=1.0, in_rms=1.0)
    return made


def table_rows(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table after a heading, header first, without the rule."""
    lines = re.split(f"(?:## |<summary>){re.escape(heading)}", text)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return [row for row in rows if set("".join(row)) != {"-"}]


def by_label(text: str, heading: str) -> list[list[str]]:
    """The same of a table with a column a label: a row a label."""
    names, *rows = table_rows(text, heading)
    return [[*row] for row in zip(["label", *names[1:]], *rows, strict=True)]


@pytest.mark.parametrize("what", HOSTILE)
def test_markdown_shows_a_hostile_text_as_it_stands(what: str) -> None:
    text = report(hostile(HOSTILE[what]))
    # No raw HTML but ours, and no quotation mark of ours is lost: every other < is an entity.
    assert "<" not in re.sub("<(details|/?summary|/details)>", "", text)
    assert not re.search(r"(?<!\\)`", text)
    assert not re.search(r"(?<!\\)\[", text)
    assert not re.search(r"&(?!amp;|lt;|gt;)", text)
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert len(max(text.split("\n"), key=len)) < 100_000
    headings = [line for line in text.split("\n") if line.startswith("#")]
    assert headings[0].startswith("# ✗ failed: ")
    assert all(line.startswith(("## ", "### ")) for line in headings[1:])
    for heading, columns in (("The ladder", 1 + 3), ("Value against limit", 9),
                             ("Free training", 6), ("Environment", 8)):  # fmt: skip
        assert {len(row) for row in table_rows(text, heading)} == {columns}, heading


@given(st.text(max_size=40))
def test_any_text_is_escaped_to_one_line_that_reads_back_as_it_was(text: str) -> None:
    escaped = tables.escape(text)
    assert "\n" not in escaped
    assert all(c.isprintable() for c in escaped)
    assert "<" not in escaped
    assert ">" not in escaped
    shown = re.sub(r"\\([\\`*_\[\]|#~])", r"\1", escaped)
    shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert shown == clean(text).replace("\n", " ")


@pytest.mark.parametrize("what", HOSTILE)
def test_a_terminal_gets_no_control_or_direction_characters(what: str) -> None:
    text = terminal(hostile(HOSTILE[what]))
    bad = {
        c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")
    }
    assert bad == set()
    assert "FAILED" in text
    assert clean(HOSTILE[what][:20]).strip() in text  # shown, not obeyed


def test_a_record_cannot_write_a_line_of_its_own_on_a_terminal() -> None:
    forged = "✓ AGREE: 3 of 3 backends compute the same"
    text = terminal(hostile(f"x\n{forged}\n"), width=400)
    assert not [line for line in text.split("\n") if line.startswith("✓ AGREE")]


@given(st.text(max_size=60))
def test_cleaned_text_is_printable(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    assert all(c.isprintable() or c == "\n" for c in cleaned)
    assert clean(cleaned) == cleaned


WARNED = [
    (
        {"dataset": make.dataset(name="synthetic", synthetic=True, sha256="other")},
        "SYNTHETIC DATA: this run did not use Fashion-MNIST",
    ),
    (
        {
            "plan": make.plan(
                labels={
                    "numpy": make.label("numpy"),
                    "torch": make.label("torch", plant="lr.py:wrong"),
                }
            )
        },
        "FAULT PLANTED on purpose: torch: lr.py:wrong",
    ),
    ({"ended": "interrupted"}, "NOT FINISHED: interrupted"),
]


@pytest.mark.parametrize(("changes", "warning"), WARNED)
def test_what_a_reader_must_know_is_said_loudly(changes: dict, warning: str) -> None:
    made = make.record(**changes)
    assert f"!! {warning}" in terminal(made)
    assert f"> **{warning}" in report(made).replace("\\", "")
    assert warning not in terminal(make.record()) + report(make.record()).replace("\\", "")
    synthetic = "SYNTHETIC data, not Fashion-MNIST" in "".join(report(made).split("\n")[:3])
    assert synthetic == warning.startswith("SYNTHETIC")


@pytest.mark.parametrize("heading", ["The ladder", "Step time", "Free training"])
def test_every_table_has_a_row_for_each_label(heading: str) -> None:
    names = ("numpy", "torch", "torch:compiled", "jax@0.9")
    rows_of = table_rows if heading == "Free training" else by_label
    rows = rows_of(report(make.record(names)), heading)
    assert rows[0][0] == "label"
    assert [row[0] for row in rows[1:]] == list(names)


def test_markdown_has_rungs_down_and_folds_what_is_not_read_first() -> None:
    made = pages.rich()
    make.find(made, "torch", "gradients").distance = 0.125
    text = report(made)
    assert text.split("\n")[0] == "# ✗ disagree: torch disagrees"
    assert "torch, gradients, step 0, float32: W1 is off by 0.12" in text.split("\n")[2]
    assert table_rows(text, "The ladder")[0] == ["", *pages.NAMES]
    assert [row[0] for row in table_rows(text, "The ladder")[2:]] == [*RUNGS]
    unasked = re.findall("^## (.*)$", text, re.MULTILINE)
    assert [title.split(" (")[0] for title in unasked] == [
        "The ladder: the value nearest its limit", "What does not agree", "Step time"]  # fmt: skip
    assert text.count("<details>") == text.count("</details>") > 10
    assert "tf32" not in text  # whose limits hold in no strict run
    assert not re.search(r"--- \|\n(?!\|)", text)  # no table is a header alone
    assert report(make.record()).startswith("# ✓ agree: 2 of 2 backends compute the same as")


def test_the_table_of_values_has_every_rung_of_every_label() -> None:
    made = make.record()
    off = make.find(made, "torch", "gradients", step=10)
    off.distance = 0.125
    rows = table_rows(report(made), "Value against limit")
    assert [row[:2] for row in rows[1:]] == [
        [name, rung] for name in ("numpy", "torch") for rung in RUNGS
    ]
    row = next(r for r in rows if r[:2] == ["torch", "gradients"])
    assert row[2:7] == ["disagree", "0.12", "1e-5", "step 10", "float32"]


def test_a_terminal_shows_every_label_in_every_table() -> None:
    text = terminal(make.record(("numpy", "torch", "jax")))
    for name in ("numpy", "torch", "jax"):
        assert sum(f" {name} " in line for line in text.split("\n")) >= 3
    assert "record: results/runs/x" in text
    assert "✓ AGREE" in text
    assert "2 teacher-forced batches: 2 of 512 samples replaced by screening" in text


def test_a_divergence_is_explained_with_the_limits_reason() -> None:
    made = make.record()
    make.find(made, "torch", "gradients", step=10).distance = 0.125
    told = "torch, gradients, step 10, float32: W1 is off by 0.12, limit 1e-5"
    for text in (terminal(made, 500), report(made).replace("\\", "")):
        assert told in text
        assert "Limit because: between rounding in correct code" in text
        assert "disagree" in text.lower()


def test_a_failure_has_one_number_in_every_place() -> None:
    """The same fault is further beyond float64's limit than beyond float32's, which is named."""
    made = make.record()
    for dtype in ("float32", "float64"):
        make.find(made, "torch", "gradients", dtype=dtype, step=10).distance = 1.5e-3
    verdict = judge(made)
    told = to_json(made, verdict, "x")
    rung, first = told["backends"]["torch"]["rungs"]["gradients"], told["first_divergence"]
    assert (rung["value"], rung["limit"]) == (first["distance"], first["limit"]) == (1.5e-3, 1e-5)
    assert "is off by 0.0015, limit 1e-5" in rung["reason"]
    assert "✗ 0.0015>1e-5 float32" in terminal(made)
    ladder, *_ = [row for row in by_label(report(made), "The ladder") if row[0] == "torch"]
    assert "✗ 0.0015&gt;1e-5 float32" in ladder
    values = [row for row in table_rows(report(made), "Value against limit") if "disagree" in row]
    assert [row[3:7] for row in values] == [["0.0015", "1e-5", "step 10", "float32"]]
    page = Page(pages_of_reports.render(report_of(Run(made, verdict), "page")))
    cell = next(
        a for a in page.all("a") if a.attributes.get("data-opens") == "evidence-1-gradients-all"
    )
    lanes = [e for e in page.all("div") if e.attributes.get("class", "").startswith("lane")]
    assert [lane.text.split(" ", 1) for lane in lanes if "× over" in lane.text] == [
        ["gradients", "150× over"],
        ["W1", "150× over"],
    ]
    assert "0.0015 >limit 1e-5 150× over, float32" in cell.text
    picture = next(f for f in page.all("figure") if f.attributes["id"] == "figure-checkpoints")
    assert "torch, gradients W1, ✗ 0.0015>1e-5 float32." in picture.text
    told = {t["name"]: t.get("text") for t in page.data()["checkpoints"]["traces"]}
    assert told["torch: first beyond"] == ["gradients W1, ✗ 0.0015&gt;1e-5 float32"]
    failure = ET.fromstring(
        formats.export("junit", [Stored(made, verdict, Path())], None, None).text
    )
    (failure,) = failure.iter("failure")
    assert "dtype: float32" in failure.text
    assert "distance: 0.0015\nlimit: 1e-5" in failure.text


def test_a_number_has_one_spelling_and_few_digits_wherever_it_is_shown() -> None:
    made = pages.rich()
    for of in (m for results in made.results.values() for m in results.measurements):
        if isinstance(of.distance, float) and of.distance:
            of.distance *= 0.163439
    off = make.find(made, "torch", "gradients", dtype="float32", step=0, tensor="W1")
    off.distance, off.noise = 0.000996123, 1.63439e-07 * 50
    off.worst = Worst(index=[1], got=1.0719510726630688e-05, want=1.25e-05, in_rms=1.0)
    verdict = judge(made)
    run = Run(made, verdict, with_links=False)
    page = Page(pages_of_reports.render(report_of(run, "page")))
    junit = formats.export("junit", [Stored(made, verdict, Path())], None, None).text
    shown = {
        "page": page.text,
        "pictures": " ".join(f"{p.caption} {p.rows}" for p in pictures(run, "agreement")),
        "markdown": report(made),
        "terminal": terminal(made),
        "junit": junit,
        "summary": verdict.summary,
    }
    for form, text in shown.items():
        assert not re.findall(r"\de[-+]0\d|\de\+\d", text), form
        if form != "pictures":
            assert "0.001" in text, form
    # In full in the evidence alone.
    assert "distance 0.000996123" in page.by_id()["evidence-1-gradients"].text
    assert "distance: 0.000996123" in junit
    for form in ("markdown", "terminal", "summary"):
        assert "0.000996" not in shown[form], form


def test_after_a_rows_first_cross_the_later_ones_follow() -> None:
    made = make.record(("numpy", "torch"))
    for rung in ("gradients", "update"):
        make.find(made, "torch", rung, dtype="float32").distance = 0.5
    text = terminal(made)
    assert [text.count(f"✗ {told}") for told in ("0.5>1e-5 float32", "follows")] == [1, 1]
    assert "✗ torch: update follows from it." in text
    assert text.count("W1 is off by") == 2  # the line and the sentence
    page = Page(pages_of_reports.render(report_of(Run(made, judge(made)), "page")))
    cells = {a.attributes["href"]: a for a in page.all("a") if "data-opens" in a.attributes}
    first, later = (cells[f"#evidence-1-{rung}"] for rung in ("gradients", "update"))
    assert first.attributes["class"] == "cell disagree"
    assert later.attributes["class"] == "cell follows"
    assert "0.5" not in later.text
    assert "distance 0.5" in page.by_id()["evidence-1-update"].text  # its own, when it is opened
    assert cells["#evidence-1-loss"].attributes["class"] == "cell agree"
    # A known difference hides nothing: what comes after it still counts.
    known = (Expected(label="torch", rung="gradients", reason="its own"),)
    made.plan = msgspec.structs.replace(made.plan, expect=known)
    assert "follows" not in terminal(made)


FULL = "harness compare --workload mlp-scratch --profile full"


def test_what_is_not_decided_says_why_and_the_command_that_settles_it() -> None:
    made = make.timed(number=1)
    made.plan = msgspec.structs.replace(made.plan, steps=None)
    told = f"accuracy: 1 seed of 5 · timing: 1 session of 5 → {FULL}"
    for text in (terminal(made), report(made)):
        assert f"? {told}" in text.replace("&gt;", ">")
    page = Page(pages_of_reports.render(report_of(Run(made, judge(made)), "page")))
    (trust,) = (s for s in page.all("section") if s.attributes["id"] == "trust")
    for text in ("? accuracy: 1 seed of 5", "? timing: 1 session of 5", f"{FULL} Copy"):
        assert text in trust.text
    made.plan = msgspec.structs.replace(made.plan, steps=30)
    assert f"accuracy: 30 steps are no training to judge · timing: 1 session of 5 → {FULL}" in (
        terminal(made, 400)
    )
    made.ended = "interrupted"
    assert f"→ {FULL.replace('full', made.plan.profile)}" in terminal(made, 400)


def test_what_is_not_ranked_has_no_command() -> None:
    made = make.timed()
    make.find(made, "torch", "gradients").distance = 0.125
    text = terminal(made, 400)
    assert "timing: not ranked: its numbers do not agree (torch)\n" in text
    assert "harness doctor" not in text


def test_what_is_inconclusive_of_some_names_them_and_claims_nothing_of_them() -> None:
    made = make.timed()
    summary, rows = judge(made).summary, run_tables.ratios(Run(made, judge(made))).texts
    assert "timing inconclusive" not in summary
    assert [row[-1] for row in rows] == ["yes", "no"]
    # One session of torch in which it takes a third longer.
    for r in made.results["torch"].rounds:
        if r.session == 2:
            r.step_ns, r.burst_ns = ([4 * ns // 3 for ns in of] for of in (r.step_ns, r.burst_ns))
    run = Run(made, judge(made))
    assert "timing of torch inconclusive" in run.verdict.summary
    assert [row[-1] for row in run_tables.ratios(run).texts] == ["no: timing inconclusive", "no"]
    assert "fold apart (limit 1.15) (torch) → harness doctor" in terminal(made)
    (plot,) = (p for p in pictures(run, "steps") if p.name == "ratios")
    assert plot.traces[0]["text"][0].endswith(", timing inconclusive")


def test_a_time_stands_beside_what_its_numbers_are_worth() -> None:
    made = make.record()
    make.find(made, "torch", "gradients").distance = 0.125
    rows = {row[0]: row for row in by_label(report(made), "Step time")}
    assert rows["numpy"][1] == "agree"
    assert rows["torch"][1] == "NOT RANKED: do not agree"
    assert rows["numpy"][2] == "1 µs"


def test_a_run_that_hardly_began_is_reported() -> None:
    made = make.record(dataset=None, results={}, cases=[], ended="interrupted")
    assert "no data set" in terminal(made)
    assert "nothing" in terminal(made) or "0 of 2 backends" in terminal(made)
    assert by_label(report(made), "The ladder")[1][0] == "numpy"


def test_numbers_that_are_not_finite_are_shown_by_name() -> None:
    made = make.record(("numpy",))
    make.find(made, "numpy", "gradients").distance = "nan"
    made.results["numpy"].training = [
        make.training(losses=["nan"], epoch_losses=["inf"], test_accuracy=["nan"])
    ]
    text = report(made)
    row = next(r for r in table_rows(text, "Value against limit") if r[1] == "gradients")
    assert row[3] == "nan"
    assert table_rows(text, "Free training")[1][4:] == ["inf", "nan"]


def test_free_training_has_a_column_for_whatever_was_counted() -> None:
    made = make.record()
    plain = table_rows(report(made), "Free training")
    assert plain[0] == ["label", "dtype", "seed", "steps", "last epoch's loss", "test accuracy"]
    torch = made.results["torch"].training[0]
    torch.test_loss, torch.training_accuracy = [0.5, 0.25], [0.5, "nan"]
    torch.validation_accuracy = [0.5, "nan", 0.75, 0.75]
    header, numpy, torchs = table_rows(report(made), "Free training")
    told = ["test loss", "test accuracy", "validation accuracy", "early stop", "training accuracy"]
    assert header[5:] == told
    assert torchs[5:] == ["0.250000", "83.50%", "75.00%", "epoch 3 of 4: 75.00%", "nan"]
    assert numpy[5:] == ["–", "83.50%", "–", "–", "–"]


def test_a_loss_is_in_nats_where_it_is_a_cross_entropy_and_a_small_one_has_two_digits() -> None:
    made = pages.tiny("himmelblau", (3.0, 2.0))
    made.results["torch"].training[0].epoch_losses = [1.2345e-21]
    found = run_tables.training(Run(made, judge(made)))
    assert "nats" not in found.about
    assert [row[-1] for row in found.rows] == ["0.719873", "1.2e-21", "0.719873"]
    assert "nats" not in report(made)
    made = pages.rich()
    assert "nats" in run_tables.training(Run(made, judge(made))).about
    for loss, nats in ((made.plan.workload.loss, True), ("quadratic", False)):
        workload = msgspec.structs.replace(made.plan.workload, loss=loss)
        made.plan = msgspec.structs.replace(made.plan, workload=workload)
        page = Page(pages_of_reports.render(report_of(Run(made, judge(made)), "page")))
        # The sentence of the rung, the tests behind it, the cell and the pictures.
        for told in ("training loss differs by", "training loss, nats", "loss of each epoch"):
            assert (told in page.text) == (nats or not told.endswith("nats"))
        assert bool(re.search(r"\bnats\b", page.text)) == nats


def test_what_was_learnt_stands_in_tables() -> None:
    made = pages.tiny("himmelblau", (3.0, 2.0), (3.0, 2.5), names=("numpy", "torch"))
    text = report(made).replace("\\", "")
    learnt = table_rows(text, "What was learnt")
    assert ["torch", "0", "x[1]", "0", "2.5", "2", "0.5"] in learnt
    shown = [" ".join(line.split()) for line in terminal(made).splitlines()]
    assert "torch 0 x[1] 0 2.5 2 0.5" in shown
    way = table_rows(text, "The way of every label")
    assert way[0] == ["label", "after steps", "x[0]", "x[1]", "value"]
    assert way[1] == ["reference", "0", "0", "0", "170"]
    # (3² + 2.5 - 11)² + (3 + 2.5² - 7)²
    assert way[-1] == ["torch", "50", "3", "2.5", "5.3125"]
    rows = table_rows(report(pages.rich()), "Norms of gradients by layer")
    assert rows[1] == ["reference", "b1", "0.02", "0.01", "0.0018"]
    assert len(rows) == 1 + 2 * 4
    assert not any(f"## {name}" in report(make.record()) for name in (
        "What was learnt", "The way of every label", "Norms of gradients by layer"))  # fmt: skip


def failed(kind: Literal["dead", "undefined"], *told: Told) -> Record:
    made = make.record()
    made.failure = Failure(
        step=8,
        kind=kind,
        compared=7,
        seed=2,
        largest=0.0 if kind == "dead" else 1.25,
        silent={"h1": 0.015, "outputs": 1.0 if kind == "dead" else 0.0},
        told=[*told],
    )
    return made


def test_a_training_that_cannot_go_on_is_explained_for_every_process() -> None:
    none: dict[str, Any] = {"raised": None, "loss": None, "largest": None, "gradient": None}
    made = failed(
        "undefined",
        Told(label="numpy", dtype="float32",
             **(none | {"loss": "nan", "largest": 1.25, "gradient": 0.5}), silent={"h1": 0.015}),
        Told(label="torch", dtype="float32", **(none | {"raised": "RuntimeError: no"})),
        Told(label="jax", dtype="float32", **(none | {"loss": 0.25, "gradient": "inf"})),
    )  # fmt: skip
    title = "Why training stops: at step 8 an output exceeds 1: the loss is undefined"
    text = report(made)
    header, *rows = table_rows(text, title)
    assert header == ["label", "dtype", "loss", "largest output", "gradients", "h1 silent",
                      "outputs silent", "what it does"]  # fmt: skip
    assert rows == [
        ["reference", "float64", "–", "1.25", "–", "1.5%", "0.0%", "judges"],
        ["numpy", "float32", "nan", "1.25", "0.5", "1.5%", "–", "gives nan"],
        ["torch", "float32", "–", "–", "–", "–", "–", "refuses: RuntimeError: no"],
        ["jax", "float32", "0.25", "–", "inf", "–", "–", "gives a number"],
    ]
    assert "compared over 7 steps" in text
    assert "seed 2" in text
    assert title in terminal(made)
    page = Page(pages_of_reports.render(report_of(Run(made, judge(made)), "page")))
    assert title in [heading.text for heading in page.all("h3")]
    assert page.tables()["What each makes of it"][1:] == rows
    title = "Why training stops: at step 8 every output is 0 and every gradient is 0"
    (_, reference) = table_rows(report(failed("dead")), title)
    assert reference == ["reference", "float64", "–", "0", "0", "1.5%", "100.0%", "judges"]
    assert "Why training stops" not in report(make.record())


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), ("nan", "nan"), (0.0, "0"), (1e-5, "1e-5"), (1.63439e-07, "1.6e-7"),
     (0.000996, "0.001"), (0.12345, "0.12"), (12.6, "13"), (111.4, "111"), (99.6, "100"),
     (2.5e10, "2.5e10"), (-3.14, "-3.1"), (1e300, "1e300")],
)  # fmt: skip
def test_a_number_is_written_in_two_digits(value: float | str | None, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, "–"),
        (0, "0 ns"),
        (999, "999 ns"),
        (1500, "1.5 µs"),
        (2.5e6, "2.5 ms"),
        (3e9, "3 s"),
        (999_950, "1 ms"),
        (999_400, "999 µs"),
    ],
)
def test_a_duration_is_in_the_unit_that_reads_best(ns: float | None, text: str) -> None:
    assert words.duration(ns) == text


WORDS = ("all is well", "what was run", "beware", "Outer", "a note", "Inner", "a line", "first",
         "–", "0.25", "7", "marked", "torch", "1 ms", "the end")  # fmt: skip


def test_any_list_of_sections_is_drawn_in_every_form() -> None:
    rows = [["first", None, 0.2512, 7, Cell("marked", "disagree", spoken="(worst)")]]
    inner = Section("Inner", ("name", "n", "x", "i", "c"), rows, lines=["a line"], folded=True)
    wide = Section("Wide", ("label", "one", "two"), [["torch", "1 ms", "2 ms"]], across=True)
    shown = Report(
        "agree",
        "all is well",
        mark="✓",
        tone="agree",
        headline=["what was run"],
        warnings=["beware"],
        sections=[
            Section("Outer", id="outer", note="a note", inside=[inner, wide, Section("No")]),
            Section("No", id="no", inside=[Section("No", ("name", "n"))]),
        ],
        end=["the end"],
    )
    out = io.StringIO()
    show(shown, Console(file=out, width=80))
    page = Page(pages_of_reports.render(shown))
    for text in (out.getvalue(), markdown.render(shown), page.text):
        for word in WORDS:
            assert word in text, word
        assert not re.search(r"\bNo\b", text)
    assert page.tables()["Inner"][1] == ["first", "–", "0.25", "7", "marked (worst)"]
    assert [row.split() for row in out.getvalue().splitlines() if "torch" in row] == [
        ["label", "torch"]
    ]


def test_accuracy_is_told_by_class_of_the_first_seed_of_every_training() -> None:
    made = pages.rich()
    mine = made.results["torch"].training[0].confusion
    mine[3] = [0, 5, 0, 15, 0, 0, 0, 0, 0, 0]
    mine[4] = [0] * 10  # no such test sample
    made.results["jax"].training[0].confusion = []
    section = learnt.classes(Run(made, judge(made)))
    assert section.header == ("class", "reference", "numpy", "torch")
    assert [row[0] for row in section.rows] == pages.CLASSES
    assert section.rows[3][3] == "75.0 %"
    assert section.rows[4][3] == "–"
    base = made.reference[0].confusion[3]
    assert section.rows[3][1] == f"{100 * base[3] / sum(base):.1f} %"
    text = as_markdown(made, judge(made))
    assert "Test accuracy by class" in text
    page = pages_of_reports.render(report_of(Run(made, judge(made)), "page"))
    assert "Test accuracy by class" in page


def test_where_no_class_was_predicted_none_is_told() -> None:
    made = pages.rich()
    for training in [*made.reference, *(t for r in made.results.values() for t in r.training)]:
        training.confusion = []
    assert learnt.classes(Run(made, judge(made))).rows == []
    assert "Test accuracy by class" not in as_markdown(made, judge(made))
