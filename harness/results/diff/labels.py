"""The two sides of a comparison, and what both must have in common. Pure."""

from __future__ import annotations

from typing import NamedTuple

from harness.record.facts import machine_key
from harness.record.schema import FINISHED, INTERRUPTED, Process, Record, Results
from harness.results import baseline
from harness.verdict.verdict import LabelVerdict, Verdict


class Of(NamedTuple):
    """One label of one run."""

    record: Record
    verdict: Verdict
    label: str

    @property
    def judged(self) -> LabelVerdict:
        """What the verdict says of it."""
        return self.verdict.labels[self.label]

    @property
    def results(self) -> Results:
        """What was measured of it; nothing where it did not start."""
        return self.record.results.get(self.label, Results())

    @property
    def process(self) -> Process | None:
        """The process in the label's own dtype."""
        return self.judged.process


def one_run(then: Record, now: Record) -> bool:
    """Whether both sides are one run: what differs between two labels of it, its labels say."""
    return then.run == now.run and then == now


def same_data(then: Record, now: Record) -> bool:
    """Whether both runs had the same data; one without any says nothing."""
    return (
        then.dataset is not None
        and now.dataset is not None
        and then.dataset.sha256 == now.dataset.sha256
    )


def other_machine(then: Record, now: Record) -> str | None:
    """Why no time of the two runs can be compared; None where nothing stands against it."""
    machines = machine_key(then), machine_key(now)
    if machines[0] != machines[1]:
        return f"another machine: {baseline.differences(*machines)}"
    if then.plan.threads != now.plan.threads:
        return f"threads were {then.plan.threads}, are {now.plan.threads}"
    return None


def trouble(record: Record) -> str | None:
    """Why nothing of a run can be trusted."""
    wrong = [answer.name for answer in record.known_answers if answer.got != answer.want]
    if wrong:
        return f"known answers of the shared code are wrong: {', '.join(wrong)}"
    return record.ended if record.ended not in (FINISHED, INTERRUPTED) else None


def answers(record: Record) -> dict[str, str]:
    """What was wanted of the shared code."""
    return {answer.name: answer.want for answer in record.known_answers}
