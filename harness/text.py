"""Words for people: bounded, free of control characters. Imports nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def clean(text: str) -> str:
    """Text without control and direction characters: a record cannot steer the terminal."""
    return "".join(" " if c == "\n" else c if c.isprintable() else "�" for c in text)


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


def described(error: BaseException) -> str:
    """An error in one line: its kind and the first line of its text."""
    try:
        text = plain((str(error).strip().splitlines() or [""])[0], 500)
    except Exception:  # an error of a plug-in may have no words for itself
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
