"""One line of the doctor's: a topic, what is found of it, a verdict, advice. Imports text only."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from harness.text import clean, many


class Unknown(Exception):
    """What was looked for cannot be told here; the message says why."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One finding: what was looked at, what was found, and for a warning what to do."""

    topic: str
    value: str
    verdict: Literal["ok", "warning", "unknown"] = "ok"
    advice: str = ""


def told(topic: str, value: str, advice: str = "") -> Line:
    """A warning where there is advice, else ok."""
    return Line(topic, value, "warning" if advice else "ok", advice)


def unknown(topic: str, why: str) -> Line:
    """A topic that this system does not tell."""
    return Line(topic, why, "unknown")


def describe(lines: list[Line]) -> dict[str, Any]:
    """The lines and their counts as plain data."""
    return {
        "warnings": sum(line.verdict == "warning" for line in lines),
        "unknown": sum(line.verdict == "unknown" for line in lines),
        "lines": msgspec.to_builtins(lines),
    }


def as_text(document: dict[str, Any]) -> str:
    """The same for people: a warning's advice stands below it."""
    text = []
    for line in document["lines"]:
        text.append(clean(f"{line['verdict']:<8} {line['topic']}: {line['value']}"))
        if line["advice"]:
            text.append(clean(f"{'':<8} -> {line['advice']}"))
    warnings = many(document["warnings"], "warning") if document["warnings"] else "no warnings"
    return "\n".join([*text, f"{warnings}, {document['unknown']} unknown"])
