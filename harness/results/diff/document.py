"""What a comparison of two runs tells, as data: the document that `harness diff --json` prints.

Imports msgspec; holds no logic.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.record.schema import Number
from harness.results.baseline import Unit
from harness.verdict.finding import RungVerdict
from harness.verdict.timing_stats import Change

SCHEMA = 1

Word = Literal["same", "moved", "better", "worse", "not comparable"]
Direction = Literal["worse", "better", "moved"]
Kind = Literal["run", "label", "verdict", "results", "judge", "training", "speed"]
Speed = Literal["slower", "faster", "same", "inconclusive", "not comparable"]


class Side(msgspec.Struct, kw_only=True):
    """One of the two runs. `record`: where it lies; `machine`: the name of its stable facts."""

    run: str
    record: str
    started: str
    ended: str
    profile: str
    harness_version: str
    machine: str
    verdict: str
    summary: str


class Judged(msgspec.Struct, kw_only=True):
    """One rung of one label in one run. `share`: value over limit, None where there is none."""

    verdict: RungVerdict
    value: Number | None
    limit: float | None
    share: Number | None
    declared: bool


class At(msgspec.Struct, kw_only=True):
    """One result that both runs have, and its distances from the judge then and now."""

    dtype: str
    case: str
    step: int | None
    tensor: str
    distances: list[Number | None]


class RungDiff(msgspec.Struct, kw_only=True):
    """One rung of one label: the judgements, and its results counted by what became of them.

    `identical`: the same bits; `moved`: other bits, though given the same numbers; `given_other`:
    other bits, and what was given differs or is not known; `only_then`, `only_now`: measured in one
    run. `judge_moved`: the same bits at another distance (by more than WOBBLE). `first`: the
    earliest that moved; `largest`: the largest change of a distance, of these two kinds.
    """

    rung: str
    then: Judged | None
    now: Judged | None
    identical: int = 0
    moved: int = 0
    given_other: int = 0
    only_then: int = 0
    only_now: int = 0
    judge_moved: int = 0
    first: At | None = None
    largest: At | None = None


class TrainingDiff(msgspec.Struct, kw_only=True):
    """One free training that both runs have. Pairs are [then, now].

    `steps`: so many, from the first on, saw the same number of samples and are compared;
    `first_step`: the first of them whose losses differ, None where all are the same; `furthest`:
    the largest |now - then| / |then| of their losses. `alike`: both are of the same batches to the
    end; only then are the other figures comparable. `identical`: the losses and, where alike, every
    epoch's figures. `loss`: the last epoch's mean; `accuracy`: the last on the test set; `churn`:
    test images of another class than the reference's.
    """

    dtype: str
    seed: int
    steps: int
    first_step: int | None
    furthest: Number
    alike: bool
    identical: bool
    loss: list[Number | None]
    accuracy: list[Number | None]
    churn: list[int | None]


class SpeedDiff(msgspec.Struct, kw_only=True):
    """One label's steps now over then. `claim`: whether both runs have sessions enough for one.

    `unit`: of `change`, multiples of the GEMM floor or the steps themselves; `steps_ns`: the
    geometric means of the sessions' median step, [then, now]. `paired`: both were timed in the same
    rounds of one run, and `change` is of ratios formed within them. `factor`: "same" is surely
    within it.
    """

    outcome: Speed
    reason: str
    claim: bool = False
    change: Change | None = None
    unit: Unit | None = None
    steps_ns: list[float] = []
    paired: bool = False
    factor: float | None = None


class Changed(msgspec.Struct, kw_only=True):
    """One thing that is not the same around what is compared. `where`: a label, machine, plan, …

    `version`: it is the version of a package, or of the interpreter.
    """

    where: str
    what: str
    then: str | None
    now: str | None
    version: bool = False


class Move(msgspec.Struct, kw_only=True):
    """One thing that moved, in a sentence. `label`: its name now; None: of the whole run.

    `kind`: what it is of: a run that is void, a label that failed or is in one run only, a rung's
    verdict, results (their bits), the judge (the same bits at another distance), a training, speed.
    """

    direction: Direction
    kind: Kind
    label: str | None
    rung: str | None
    text: str


class LabelDiff(msgspec.Struct, kw_only=True):
    """One label of both runs. Pairs are [then, now].

    `reproducible`: whether it repeats itself bit for bit within a run (None: not measured).
    `first_step_ns` (with what is compiled) and `peak_rss_bytes` are shown; no claim rests on them.
    `told`: of a pair that was asked for, what changed, what became of its numbers and of its speed;
    empty otherwise.
    """

    labels: list[str]
    status: list[str]
    reason: list[str | None]
    reproducible: list[bool | None]
    rungs: list[RungDiff]
    trainings: list[TrainingDiff]
    speed: SpeedDiff
    first_step_ns: list[int | None]
    peak_rss_bytes: list[int | None]
    told: str = ""

    @property
    def name(self) -> str:
        """The label, or both where it has another name now."""
        return " → ".join(dict.fromkeys(self.labels))


class Diff(msgspec.Struct, kw_only=True):
    """What moved from the run `then` to the run `now`.

    `cautions`: what a reader must know first, above all what cannot be compared. `only_then`,
    `only_now`: labels of one run. `reference`: the reference's own trainings. `moves`: the worse
    first, then the better, then what is neither. `one_run`: both sides are labels of the same run.
    """

    schema: int = SCHEMA
    verdict: Word
    summary: str
    then: Side
    now: Side
    cautions: list[str]
    moves: list[Move]
    labels: list[LabelDiff]
    only_then: list[str]
    only_now: list[str]
    reference: list[TrainingDiff]
    environment: list[Changed]
    one_run: bool = False
