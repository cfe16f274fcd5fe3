"""Two functions for people: what was asked, what each said, where they differ, one sentence."""

from __future__ import annotations

from harness.pair.comparing import spelt
from harness.pair.document import BROADCAST, SAME, SPECIAL, UNTOLD, Question, Same, Side
from harness.plan.interpreters import is_own
from harness.report.sections import Report, Section
from harness.report.words import MARKS
from harness.text import short

OUTCOMES = {"same": "agree", "differs": "disagree", "not asked": "not-possible"}
# Of what a function raises: so much stands in a cell.
MOST_LETTERS = 60


def report(found: Same) -> Report:
    """The questions, the first difference, special points that differ, sides and arguments."""
    tone = "agree" if found.answer in SAME else "disagree"
    tone = "inconclusive" if found.answer == UNTOLD else tone
    a, b = (side.name for side in found.sides)
    return Report(
        word=found.answer,
        sentence=found.sentence,
        mark=MARKS[tone],
        tone=tone,
        title=f"{a} and {b}: {found.answer}",
        headline=[f"{a} and {b} · {found.made} · truth: {found.truth or 'none'}"],
        sections=[
            questions(found),
            points(found),
            first(found),
            Section(
                "Sides",
                ("side", "framework", "function", "where", "also"),
                [_side(side) for side in found.sides],
                id="sides",
                figures=False,
            ),
            Section(
                "Arguments",
                ("argument", "dtype", "shape", "value"),
                [[each.name, each.dtype or "–", str(each.shape) if each.dtype else "–",
                  each.text or "–"] for each in found.arguments],
                id="arguments",
                figures=False,
                folded=True,
            ),
        ],
        end=[f"{found.seconds:.1f} s"],
    )  # fmt: skip


def questions(found: Same) -> Section:
    """A row a question: each side's word, the distance, its limit."""
    names = [side.name for side in found.sides]
    rows = [
        [
            f"{MARKS[OUTCOMES[of.outcome]]} {of.question}",
            *(_short(of.says.get(name, "–")) for name in names),
            short(of.distance),
            short(of.limit),
            of.note or "–",
        ]
        for of in found.questions
    ]
    header = ("asked", *names, "apart", "limit", "note")
    return Section("What was asked", header, rows, id="asked")


def points(found: Same) -> Section:
    """A row for every special point at which the two differ."""
    names = [side.name for side in found.sides]
    rows = [
        [of.point, of.argument, of.of, *(_short(of.says.get(name, "–")) for name in names)]
        for of in found.points
        if not of.same
    ]
    header = ("at", "in", "of", *names)
    return Section("Where they differ", header, rows, id="points", figures=False)


def first(found: Same) -> Section:
    """The first difference: whose question, which element, what each says, the limit."""
    at = found.first
    if at is None:
        return Section()
    rows = [
        ["question", at.question],
        *([["point", at.point]] if at.point else []),
        ["of", at.of],
        *([["element", str(at.index)]] if at.index is not None else []),
        *([name, _short(spelt(value))] for name, value in at.says.items()),
        *([["limit", short(at.limit)]] if at.limit is not None else []),
        *(["explanation", one.sentence] for one in found.explained),
    ]
    return Section("The first difference", ("", ""), rows, id="first", figures=False)


def _side(side: Side) -> list[str]:
    where = "in the calling process, nothing pinned"
    if side.apart:
        versions = [
            f"{name.removeprefix('version:')} {value}"
            for name, value in side.facts.items()
            if name.startswith("version:") or name == "threads"
        ]
        other = [] if is_own(side.python) else [side.python]
        where = ", ".join(["its own process", *other, *versions])
    return [side.name, side.framework, side.source, where, "; ".join(side.notes) or "–"]


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"


def lines(found: Same) -> list[str]:
    """What an assertion says: the answer, the first difference, a line a question that differs."""
    told = [f"{found.answer}: {found.sentence}"]
    told += [f"  {name or 'at':<11} {value}" for name, value in first(found).rows[1:]]
    told += [f"  {row[0]}: {', '.join(map(str, row[1:]))}" for row in points(found).rows]
    asked: list[Question] = [of for of in found.questions if of.outcome == "differs"]
    told += [
        f"  {of.question}: {', '.join(f'{n} {said}' for n, said in of.says.items())} {of.note}"
        for of in asked
        if of.question not in (SPECIAL, BROADCAST)
    ]
    return [line.rstrip() for line in told]
