"""What a verdict rests on, each in a few words, and the command that settles what is open.

Takes a stored record and its verdict only.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from harness.report import unsettled
from harness.report.run_tables import Run
from harness.report.sections import Cell, Section, Value
from harness.report.words import MARKS
from harness.text import many, short
from harness.verdict.stats import MIN_SEEDS
from harness.verdict.timing_stats import MIN_SESSIONS, claim
from harness.verdict.timings import against_itself, busy_load, steady
from harness.verdict.verdict import timing_parts

# The parts of the rung timing that say whether times can be what they are said to be.
CHECKED = {"clocks": "clocks agree", "physics": "no impossible times"}


@dataclass(frozen=True)
class Chip(Cell):
    """One matter, with its mark. `tone`: agree, inconclusive or disagree; "" for what is told only.

    `command`: after which it is settled; "" where there is none.
    """

    command: str = ""


def section(run: Run) -> Section:
    """A row a command, the first without one: what is settled, and what no command settles."""
    chips = [*_numbers(run), *_times(run), *_open(run)]
    rows: dict[str, list[Value]] = {"": []}
    for chip in chips:
        rows.setdefault(chip.command, []).append(chip)
    return Section(rows=[[command, *of] for command, of in rows.items() if of], look="chips")


def _chip(text: str, tone: str = "agree", command: str = "") -> Chip:
    return Chip(f"{MARKS[tone]} {text}", tone, command=command)


def _numbers(run: Run) -> Iterator[Chip]:
    """Of the shared code, of every process against itself, of planted faults, of what was run."""
    record, labels = run.record, run.verdict.labels
    if answers := record.known_answers:
        right = sum(answer.got == answer.want for answer in answers)
        tone = "agree" if right == len(answers) else "disagree"
        yield _chip(f"known answers: {right} of {len(answers)}", tone)
    repeated = {name: of.reproducible for name, of in labels.items() if of.repeats}
    if repeated:
        unlike = ", ".join(name for name, same in repeated.items() if not same)
        of = f"{len(repeated)} of {len(repeated)} repeat themselves bit for bit"
        yield _chip(f"not deterministic: {unlike}", "inconclusive") if unlike else _chip(of)
    planted = [name for name, of in record.plan.labels.items() if of.plant]
    if planted:
        caught = sum(any(f.counts for f in labels[name].findings.values()) for name in planted)
        tone = "agree" if caught == len(planted) else "disagree"
        yield _chip(f"planted faults caught: {caught} of {len(planted)}", tone)
    yield from _lockstep(run)
    if (seeds := len(record.plan.seeds)) >= MIN_SEEDS:
        yield _chip(many(seeds, "seed"))


def _lockstep(run: Run) -> Iterator[Chip]:
    """How much of the training runs in lockstep: of what comes after nothing is known."""
    record = run.record
    if not record.lockstep_steps:
        return
    made = max(record.lockstep_steps) + 1
    trained = max((len(of.losses) for of in record.reference), default=0)
    if made >= trained and record.plan.steps is None:
        yield _chip(f"lockstep: all {made} steps")
        return
    of = f" of {trained}" if trained > made else ""
    command = unsettled.compare(record, "full")
    yield _chip(f"lockstep: the first {made}{of} steps", "inconclusive", command)


def _times(run: Run) -> Iterator[Chip]:
    """Of the control arm, of what the clocks say, of the machine."""
    record, labels = run.record, run.verdict.labels
    for name, of in against_itself(record).items():
        told = f"control arm ({name} twice, {of.value:.3f})"
        if of.claimable:
            wrong = claim(of, record.plan.timing.least)
            tone = "disagree" if wrong else "agree"
            yield _chip(f"{told} claims {'a difference' if wrong else 'nothing'}", tone)
    timed = {name: timing_parts(of) for name, of in labels.items() if timing_parts(of)}
    for part, said in CHECKED.items():
        own = [p.verdict for parts in timed.values() for p in parts if p.name == part]
        right = own.count("agree")
        if own:
            tone = next((t for t in ("disagree", "inconclusive") if t in own), "agree")
            settles = unsettled.QUIET if tone == "inconclusive" else ""
            yield _chip(f"{said}: {right} of {len(own)}", tone, settles)
    if timed and (sessions := record.plan.timing.sessions) >= MIN_SESSIONS:
        yield _chip(many(sessions, "session"))
    results = [record.results[name] for name in timed]
    loads = [r.load for of in results for r in steady(record, of) if r.load is not None]
    if loads:
        busy = any(busy_load(record, of) is not None for of in results)
        load = f"load {short(statistics.median(loads))}"
        yield (
            _chip(f"machine busy ({load})", "inconclusive", unsettled.QUIET)
            if busy
            else _chip(f"machine not busy ({load})")
        )


def _open(run: Run) -> Iterator[Chip]:
    """What is not decided."""
    for command, told in unsettled.open_matters(run).items():
        for text in told:
            yield _chip(text, "inconclusive", command)
