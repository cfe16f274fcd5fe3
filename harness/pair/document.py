"""What was asked of two functions and what came out: plain data. Imports msgspec and `record`."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.record.schema import Explanation, Number

# The answers. "precision": they agree but for what one of them rounds; "different functions":
# float64 differs; "different at special points only": all else agrees.
Answer = Literal[
    "same, bit for bit",
    "same, to rounding",
    "precision",
    "different functions",
    "different at special points only",
    "one does not repeat itself",
    "cannot be told",
]
SAME: tuple[Answer, ...] = ("same, bit for bit", "same, to rounding")
UNTOLD: Answer = "cannot be told"
Outcome = Literal["same", "differs", "not asked"]

# What is asked, in this order.
VALUE, REPEATS, WIDE, SINGLE = "what comes out", "repeats itself", "float64", "float32"
GRADIENTS, SPECIAL, BROADCAST = "gradients", "special points", "broadcasting"
QUESTIONS = (VALUE, REPEATS, WIDE, SINGLE, GRADIENTS, SPECIAL, BROADCAST)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The first difference.

    `question`: which one found it; `point`: at which special point, "" at the arguments as given;
    `of`: "value", "value[0]" of several, "gradient by x"; `index`: the element, None where there is
    no other than the whole; `says`: by side, what stands there, a whole number exactly; `limit`: by
    how much they might differ there, in the value's own units.
    """

    question: str
    of: str
    says: dict[str, int | float | str]
    point: str = ""
    index: list[int] | None = None
    limit: Number | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question: what each side says to it, and the distance nearest its limit.

    Both are relative to the larger of an element's size and the median of all; None where there is
    no distance. `note`: why it was not asked, or what the limit is.
    """

    question: str
    outcome: Outcome
    says: dict[str, str] = {}
    distance: Number | None = None
    limit: Number | None = None
    note: str = ""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One special point of one argument: whether both sides are the same there, and what each says.

    `of`: where they differ, "value" or "gradient by x".
    """

    point: str
    argument: str
    same: bool
    says: dict[str, str]
    of: str = ""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two, or what is true. `framework`: whose arrays it is given.

    `source`: where the function is; `apart`: whether it ran in a process of its own, with
    interpreter `python`, where threads and precision are pinned; `facts`: of that process; `notes`:
    what else it does, a line each.
    """

    name: str
    framework: str
    source: str
    apart: bool
    python: str = ""
    facts: dict[str, str] = {}
    notes: list[str] = []


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """An argument of both: an array's dtype as it was given and its shape, or else its text."""

    name: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    text: str = ""


class Same(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of two functions, and the answer.

    `explained`: the conventions that each explain all of a difference; empty where none known does.
    `truth`: whose float64 the float32 of both is held to, "" for nobody's; `made`: where the
    arguments come from, with the seed where they are drawn; `seconds`: how long all of it took.
    """

    answer: Answer
    sentence: str
    sides: list[Side]
    truth: str
    made: str
    arguments: list[Argument]
    questions: list[Question]
    first: Place | None
    explained: list[Explanation]
    points: list[Point]
    seconds: float


def exit_status(found: Same) -> int:
    """0 the same, 1 not, 2 where that cannot be told."""
    return 0 if found.answer in SAME else 2 if found.answer == UNTOLD else 1
