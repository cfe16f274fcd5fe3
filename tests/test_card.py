"""The card of a run: a valid SVG that says the verdict, every rung and every time, and fits."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from harness.record.schema import Explained, Explanation, Record
from harness.report.card import HEIGHT, MOST_ROWS, WIDTH, card
from harness.verdict.verdict import judge
from tests import make

SVG = "{http://www.w3.org/2000/svg}"
# Of a sans-serif letter, on average, in its size.
LETTER = 0.56


def texts(record: Record) -> list[ET.Element]:
    return [*ET.fromstring(card(record, judge(record))).iter(f"{SVG}text")]


def told(record: Record) -> list[str]:
    return [one.text or "" for one in texts(record)]


def failing() -> Record:
    made = make.timed(("numpy", "torch"))
    measurement = make.find(made, "torch", "update")
    measurement.distance = 1.0
    made.explained = [
        Explained(
            label="torch",
            dtype=measurement.dtype,
            rung="update",
            case=measurement.case,
            found=[Explanation(hypothesis="lr", sentence="the rate is twice", numbers=[], left=0)],
        )
    ]
    return made


def test_it_says_the_verdict_each_rung_and_the_times_the_fastest_first() -> None:
    said = told(make.timed(("numpy", "torch")))
    assert said[0].startswith("✓ agree") or said[0].startswith("? inconclusive")
    assert said.index("numpy") < said.index("torch")
    assert sum(one.endswith((" ms", " µs")) for one in said) == 2
    assert {"in", "fw", "lo", "gr", "up", "ls", "tr", "ac", "ti"} <= {*said}
    slower = make.timed(("torch", "numpy"))
    assert told(slower).index("torch") < told(slower).index("numpy")


def test_of_a_divergence_it_says_where_and_why_and_greys_what_follows() -> None:
    made = failing()
    said = told(made)
    assert said[0] == "✗ disagree"
    assert "update" in said[1]
    assert said[2].startswith("the rate is twice")
    made.explained = []
    assert "twice" not in " ".join(told(made))


@pytest.mark.parametrize("number", [1, 4, 7, 30])
def test_any_number_of_labels_and_names_of_any_kind_fit(number: int) -> None:
    names = tuple(f"a <label> & {place} of a very long name" for place in range(number))
    made = make.timed(names)
    drawn = texts(made)
    for one in drawn:
        size, x, y = (float(one.get(name, 0)) for name in ("font-size", "x", "y"))
        assert size >= 22  # 11 pixels at half of its width
        assert 0 < y < HEIGHT
        width = LETTER * size * len(one.text or "")
        beyond = {"middle": width / 2, "end": 0}.get(one.get("text-anchor", ""), width)
        assert x + beyond <= WIDTH, one.text
    said = [one.text for one in drawn]
    # 18 letters of a name: the verdict's own line begins with one too.
    assert sum(len(text) == 18 and text.startswith("a <label> & ") for text in said) == min(
        number, MOST_ROWS
    )
    assert (f"and {number - MOST_ROWS} more" in said) == (number > MOST_ROWS)


def test_a_label_that_failed_says_so_and_a_bar_that_may_not_be_ranked_is_hollow() -> None:
    made = make.timed(("numpy", "torch"))
    make.fail(made, "torch", "died of SIGSEGV")
    drawing = card(made, judge(made))
    assert "failed: died of SIGSEGV" in drawing
    assert 'fill="none" stroke=' in card(failing(), judge(failing()))
