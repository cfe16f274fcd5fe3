"""Words for people: bounded, free of control characters; names by patterns. Imports nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any


def fits(name: str, pattern: str) -> bool:
    """Whether a name is this one, or one of a pattern's as a shell has it: * and ?."""
    return name == pattern or fnmatchcase(name, pattern)


def clean(text: str) -> str:
    """Text without control and direction characters: a record cannot steer the terminal."""
    return "".join(" " if c == "\n" else c if c.isprintable() else "�" for c in text)


def short(value: float | str | None, digits: int = 2) -> str:
    """A number in two digits, or so many, the same wherever it is shown; None is a dash.

    What has three digits or more before the point and is no power of ten is a whole number.
    """
    if value is None or isinstance(value, str):
        return "–" if value is None else value
    if value == 0:
        return "0"
    if digits == 2 and 99.5 <= abs(value) < 1e5:
        return f"{value:.0f}"
    return _spelt(f"{value:.{digits}g}")


def signed(value: float) -> str:
    """The same with its sign."""
    return f"{'+' * (value > 0)}{short(value)}"


def exact(value: float | str | None) -> str:
    """A number in all the digits that it has."""
    return short(value) if value is None or isinstance(value, str) else _spelt(repr(value))


def _spelt(number: str) -> str:
    """1e-5 in place of 1e-05."""
    digits, e, exponent = number.partition("e")
    return f"{digits}e{int(exponent)}" if e else digits


def many(number: int, name: str) -> str:
    """A number of things: "1 run", "2 runs"."""
    return f"{number} {name}{'' if number == 1 else 's'}"


def counted(words: list[str]) -> list[str]:
    """Each word once, with how often it stands there where that is more than once."""
    return [
        word if (times := words.count(word)) == 1 else f"{times} {word}"
        for word in dict.fromkeys(words)
    ]


# Facts are a few versions and settings, to be read by people: beyond this they are cut.
MOST_FACTS, LONGEST_NAME, LONGEST_FACT = 200, 100, 1000


def plain(text: str, most: int = 200) -> str:
    """Text that can be stored and shown: no control characters, of bounded length."""
    shown = "".join(c if c.isprintable() else " " if c.isspace() else "�" for c in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def plain_facts(facts: Mapping[Any, Any]) -> dict[str, str]:
    """What a backend says of itself as it is stored, whatever it is; how much was left out."""
    few = len(facts) <= MOST_FACTS
    stored = {
        plain(str(name), LONGEST_NAME): plain(str(value), LONGEST_FACT)
        for name, value in list(facts.items())[: MOST_FACTS if few else MOST_FACTS - 1]
    }
    return stored if few else stored | {"facts left out": str(len(facts) - len(stored))}


# Lines that only say that something went wrong: TensorFlow's and Keras's, before the reason.
PREFACE = re.compile(r"in user code:|Graph execution error:|(\w+: )?Exception encountered when .*")
CALL_STACK = re.compile(r'^\s*File ".*", line \d+', re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def described(error: BaseException) -> str:
    """An error in one line: its kind and the line of its text that names the reason."""
    kind = type(error).__name__
    try:
        text = plain(_reason(str(error)), 500)
    except Exception:  # an error of a plug-in may have no words for itself
        text = ""
    if text.startswith(f"{kind}: "):
        return text
    return f"{kind}: {text}" if text else kind


def _reason(text: str) -> str:
    """The first line behind prefaces and call stacks; with the next where that explains it."""
    first, *others = re.split(r"\n\s*\n", COLOUR.sub("", text).strip())
    kept = [first, *(part for part in others if not CALL_STACK.search(part))]
    lines = [line.lstrip() for part in kept for line in part.splitlines()]
    told = [line for line in lines if line and not PREFACE.fullmatch(line)] or lines[:1]
    goes_on = told[0].endswith(":") or (told[1:] and told[1].startswith("Explanation: "))
    return " ".join(told[: 2 if goes_on else 1]).strip()
