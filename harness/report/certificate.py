"""A certificate for people: a table of checks, what failed and why, one sentence."""

from __future__ import annotations

from collections import Counter

from harness.conformance import CHECKS, DTYPES, KIT
from harness.conformance.certificate import GOOD, Certificate, Result, Status
from harness.report.sections import Report, Section
from harness.text import short

NO_CERTIFICATE = "no certificate: only whole kits have one (leave out --check)"
MARKS = {"passed": "✓", "failed": "✗", "expected": "✗ as declared", "not-possible": "–"}
COUNTED: dict[Status, str] = {
    "failed": "fail",
    "expected": "fail as declared",
    "not-possible": "not possible here",
}
# Of a message in the table; the whole stands below it, where something failed.
MOST_LETTERS = 60


def catalogue() -> dict[str, object]:
    """What the kit checks: as a document."""
    checks = [
        {"check": check.name, "holds": check.sentence, "dtypes": list(check.dtypes)}
        for check in CHECKS
    ]
    return {"kit": KIT, "checks": checks}


def catalogue_as_text() -> str:
    """The same for people."""
    width = max(len(check.name) for check in CHECKS)
    return "\n".join(f"{check.name:<{width}}  {check.sentence}" for check in CHECKS)


def report(certificate: Certificate, path: str | None) -> Report:
    """Table, failures, verdict, and where it is stored, if it is."""
    good = certificate.verdict in GOOD
    header = ("check", *DTYPES, "evidence")
    table = Section(header=header, rows=rows(certificate), lines=explanations(certificate))
    return Report(
        word=certificate.verdict,
        sentence=sentence(certificate),
        mark="✓" if good else "✗",
        tone="agree" if good else "disagree",
        headline=[headline(certificate)],
        sections=[table],
        end=[f"certificate: {path}" if path else NO_CERTIFICATE],
    )


def headline(certificate: Certificate) -> str:
    """What was put to the test."""
    configured = certificate.configured
    facts = next((p.facts for p in certificate.processes if p.facts), {})
    versions = [
        f"{name.removeprefix('version:')} {value}"
        for name, value in facts.items()
        if name.startswith("version:")
    ]
    words = [
        f"{certificate.label}: {configured.source}",
        configured.origin,
        certificate.workload,
        f"variant {configured.variant}",
        configured.device,
        f"{certificate.threads} thread(s)",
        *versions,
        f"kit {certificate.kit}",
    ]
    return " · ".join(words)


def rows(certificate: Certificate) -> list[list[str]]:
    """A row a check: its mark in each dtype, the figure nearest its limit, what was measured."""
    table = []
    for check in certificate.checks:
        own = {r.dtype: r for r in certificate.results if r.check == check}
        message = next((r.message for r in own.values() if r.message), "")
        if len(message) > MOST_LETTERS:
            message = f"{message[: MOST_LETTERS - 1]}…"
        table.append([check, *(_cell(own.get(dtype)) for dtype in DTYPES), message])
    return table


def _cell(result: Result | None) -> str:
    if result is None:
        return ""
    mark = MARKS[result.status]
    if result.value is None or result.limit is None:
        return mark
    over = "≤" if result.status == "passed" else ">"
    return f"{mark} {short(result.value)}{over}{short(result.limit)}"


def explanations(certificate: Certificate) -> list[str]:
    """A line for each thing that failed, was declared or could not be checked, with its checks."""
    places: dict[tuple[str, str], list[str]] = {}
    for result in certificate.results:
        if result.status == "passed":
            continue
        why = f" Limit because: {result.why}." if result.why else ""
        known = ""
        if result.status == "expected":
            known = f" As declared: {certificate.expect[result.check]}."
        what = f"{result.message.rstrip('.')}.{why}{known}"
        place = f"{result.check}, {result.dtype}"
        places.setdefault((MARKS[result.status][0], what), []).append(place)
    return [
        f"{mark} {first}{f' (and {len(others)} more)' if others else ''}: {what}"
        for (mark, what), (first, *others) in places.items()
    ]


def sentence(certificate: Certificate) -> str:
    """What the verdict rests on."""
    count = Counter(result.status for result in certificate.results)
    asked = "" if certificate.whole else f" ({len(certificate.checks)} of {len(CHECKS)} asked for)"
    parts = [f"{count['passed']} of {len(certificate.results)} checks hold{asked}"]
    parts += [f"{count[status]} {words}" for status, words in COUNTED.items() if count[status]]
    return f"{certificate.label}, kit {certificate.kit}: {', '.join(parts)}"
