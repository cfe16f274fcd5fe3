"""verdict.json, schema 1: it is encoded from these structs, and decoded to them.

Names and order are fixed; others read them. A field may be added, at an end and with a default.
Numbers that are not finite are the strings "nan", "inf" and "-inf".
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from harness.record.schema import Explanation, Failure, Number, Repeat
from harness.verdict.finding import Rung, Whole, agreeing, void_part
from harness.verdict.operators import OperatorVerdict
from harness.verdict.outcome import ChurnTest
from harness.verdict.stats import Equivalence
from harness.verdict.timings import StepTime

SCHEMA: Literal[1] = 1

Overall = Literal["agree", "disagree", "inconclusive", "failed"]
Status = Literal["ok", "failed", "skipped"]


class Dataset(msgspec.Struct, kw_only=True, gc=False):
    """The data set: `train`, `test`: samples."""

    name: str
    synthetic: bool
    sha256: str
    train: Whole
    test: Whole


class Left(msgspec.Struct, kw_only=True, gc=False):
    """A process that outlived the one of this dtype and session that had started it."""

    dtype: str
    session: Whole
    command: str
    cpu_ns: Whole


class Entry(msgspec.Struct, kw_only=True, gc=False):
    """One label: what it is, how its processes fared, a finding per rung, its time if timed.

    `equivalence`: the paired tests behind the rung accuracy, by metric; `churn`: predictions
    against the reference's, by seed; `repeats`: each process against itself. `train_loss` (nats)
    and `test_accuracy` (a share): over epochs, by seed.
    """

    status: Status
    reason: str | None
    backend: str
    device: str
    dtype: str
    variant: str
    precision: str
    plant: str | None
    source: str
    origin: str
    interpreter: str
    python: str | None
    versions: dict[str, str]
    rungs: dict[str, Rung]
    equivalence: dict[str, Equivalence]
    churn: list[ChurnTest]
    reproducible: bool | None
    repeats: list[Repeat]
    train_loss: dict[str, list[Number]]
    test_accuracy: dict[str, list[Number]]
    step_time: StepTime | None
    peak_rss_bytes: Whole | None
    peak_device_bytes: Whole | None
    left_behind: list[Left]

    @property
    def agrees(self) -> bool:
        """Whether it did not fail and every deciding rung agrees (see `finding.agreeing`)."""
        return self.status == "ok" and agreeing(self.rungs)

    @property
    def void(self) -> bool:
        """Whether its times cannot be what they are said to be."""
        timing = self.rungs.get("timing")
        return timing is not None and void_part(timing.parts) is not None

    @property
    def last_loss(self) -> float | None:
        """Training loss of the last epoch, mean over seeds, nats."""
        return _last(self.train_loss)

    @property
    def last_accuracy(self) -> float | None:
        """Test accuracy after the last epoch, mean over seeds."""
        return _last(self.test_accuracy)


def _last(by_seed: dict[str, list[Number]]) -> float | None:
    last = [float(values[-1]) for values in by_seed.values() if values]
    return sum(last) / len(last) if last else None


class Divergence(msgspec.Struct, kw_only=True):
    """The first divergence of a run: lowest rung, then earliest step, over all labels."""

    label: str
    rung: str
    step: int | None
    tensor: str
    index: list[int] | None
    expected: Number | None
    got: Number | None
    distance: Number | None
    limit: float | None
    case: str
    dtype: str
    problem: str | None
    sentence: str
    hint: str | None
    explanation: list[Explanation] | None = None


class Document(msgspec.Struct, kw_only=True, rename={"format": "schema"}):
    """The whole verdict.json. `record`: the folder of the run; `backends`: by label.

    `failure`: a training that cannot go on, see `harness.record.schema.Failure`. `operators`:
    single ones by label and name, where they were asked for.
    """

    format: Literal[1] = SCHEMA
    verdict: Overall
    summary: str
    run: str
    started: str
    seconds: Number
    ended: str
    harness_version: str
    machine: str
    processor: str
    threads: Whole
    profile: str
    workload: str
    dataset: Dataset
    reference: str
    record: str
    backends: dict[str, Entry]
    first_divergence: Divergence | None
    other_limits: str | None
    failure: Failure | None = None
    operators: dict[str, dict[str, OperatorVerdict]] = {}

    @property
    def planted(self) -> bool:
        """Whether a fault was planted in any backend."""
        return any(entry.plant for entry in self.backends.values())

    def plain(self) -> dict[str, Any]:
        """As it is written, in plain data."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document
