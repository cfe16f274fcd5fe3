"""What moved, each in a sentence with its figure, and the words that it is told in. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.record.schema import Record
from harness.results.baseline import interval
from harness.results.diff.document import (
    At,
    Changed,
    Direction,
    Judged,
    Kind,
    LabelDiff,
    Move,
    RungDiff,
    SpeedDiff,
    TrainingDiff,
)
from harness.results.diff.numbers import FREE
from harness.results.diff.sides import Of, arrow, trouble
from harness.text import short
from harness.verdict.timing_stats import Change
from harness.workloads.reference.limits import DECIDING, RUNGS

ABOVE = {"run": -2, "label": -1, "training": len(RUNGS), "speed": len(RUNGS) + 1}
# How speed is told: in the sentence of a pair.
OF_SPEED = {
    "slower": "its step is slower",
    "faster": "its step is faster",
    "same": "speed did not move",
    "inconclusive": "whether speed moved is open",
}


def move(
    direction: Direction, kind: Kind, text: str, label: str | None = None, rung: str | None = None
) -> Move:
    """A move, its fields in their order of use."""
    return Move(direction=direction, kind=kind, label=label, rung=rung, text=text)


def order(move: Move) -> tuple[int, int]:
    """The worse first, then the better; each up the ladder, as a divergence is looked for."""
    place = RUNGS.index(move.rung) if move.rung in RUNGS else ABOVE[move.kind]
    return ("worse", "better", "moved").index(move.direction), place


def of_runs(then: Record, now: Record) -> Iterator[Move]:
    """A run that is void, and one that was and is not any more."""
    before, after = trouble(then), trouble(now)
    if after and not before:
        yield move("worse", "run", f"the second run is void: {after}")
    if before and not after:
        yield move("better", "run", f"the first run was void: {before}")


def moves_of(label: LabelDiff, now: Of) -> Iterator[Move]:
    """What moved of one label."""

    def say(direction: Direction, kind: Kind, text: str, rung: str | None = None) -> Move:
        return move(direction, kind, f"{label.name}{text}", now.label, rung)

    was, is_ = label.status
    shaky = _shaky(label)
    if was != is_:
        why = [f" ({reason})" if reason else "" for reason in label.reason]
        worse: Direction = "worse" if is_ == "failed" else "better"
        # About a skipped label nothing is known.
        known = "skipped" not in label.status
        text = f": was {was}{why[0]}, is {is_}{why[1]}"
        yield say(worse if known else "moved", "label", text)
    for rung in label.rungs:
        name = rung.rung
        direction = _of_verdict(rung, same_status=was == is_)
        if direction is not None and rung.then and rung.now:
            text = f", {name}: {_in_words(rung.then)}, now {_in_words(rung.now)}"
            if rung.now.verdict != "agree":
                sentence = now.judged.findings[name].sentence
                for named in (f"{now.label}, ", f"{name}, ", f"{name}: "):
                    sentence = sentence.removeprefix(named)
                text += f": {sentence}"
            yield say(direction, "verdict", text, name)
        if rung.moved and rung.first is not None:
            given = "" if name in (*FREE, "inputs") else " though given the same numbers"
            of = rung.identical + rung.moved
            text = f", {name}: {rung.moved} of {of} results not the same bits{given}{shaky}; "
            yield say("moved", "results", f"{text}first {_place(rung.first)}", name)
        if rung.judge_moved and rung.largest is not None:
            text = (
                f", {name}: {rung.judge_moved} of {rung.identical} results the same bits at "
                f"another distance from the reference; furthest {_place(rung.largest)}"
            )
            yield say("moved", "judge", text, name)
    for training in label.trainings:
        if not training.identical:
            yield say("moved", "training", told_of(training) + shaky)
    speed = label.speed
    if speed.outcome in ("slower", "faster") and speed.change is not None:
        unit = "as a multiple of the floor" if speed.unit == "floor" else "in time"
        text = f": {OF_SPEED[speed.outcome]}, {ratio(speed.change)} {unit} ({speed.reason})"
        yield say("worse" if speed.outcome == "slower" else "better", "speed", text)


def told_of_pair(label: LabelDiff, changed: list[Changed]) -> str:
    """What became of one label under another name: its versions, its numbers, its speed."""
    versions = ", ".join(arrow(c) for c in changed if c.version and c.where == label.name)
    around = f" ({versions})" if versions else ""
    return f"{label.name}{around}: {_numbers(label)}; {_speed(label.speed)}"


def _numbers(label: LabelDiff) -> str:
    """Whether numbers moved, in which rungs, and whether a rung is judged otherwise."""
    if label.status[0] != label.status[1]:
        return f"was {label.status[0]}, is {label.status[1]}"
    moved = [r for r in label.rungs if r.moved]
    parted = [t for t in label.trainings if not t.identical]
    same = sum(r.identical for r in label.rungs)
    if moved or parted:
        places = [f"{r.rung} ({r.moved} of {r.identical + r.moved} results)" for r in moved]
        places += [f"training ({len(parted)} of {len(label.trainings)})"] if parted else []
        sentence = f"numbers moved in {', '.join(places)}"
    elif not same and not label.trainings:
        return "of its numbers nothing was measured in both"
    else:
        also = f" and {len(label.trainings)} trainings" if label.trainings else ""
        sentence = f"no number moved ({same} results{also} are the same, bit for bit)"
    judged = [
        f"{r.rung} was {r.then.verdict}, is {r.now.verdict}"
        for r in label.rungs
        if r.then and r.now and r.then.verdict != r.now.verdict
        if _of_verdict(r, same_status=True)
    ]
    if judged:
        return f"{sentence}; {', '.join(judged)}"
    return f"{sentence}, and every rung is judged as before" if moved or parted else sentence


def _speed(speed: SpeedDiff) -> str:
    """Whether speed moved, with the interval where there is one."""
    if speed.change is None:
        return f"speed is not comparable ({speed.reason})"
    word = OF_SPEED[speed.outcome] if speed.claim else "nothing is claimed of speed"
    return f"{word}, {ratio(speed.change)} ({speed.reason})"


def _of_verdict(rung: RungDiff, *, same_status: bool) -> Direction | None:
    """Whether a rung's judgement became better or worse; None where it says no more than before.

    Of rungs that do not decide, "inconclusive" tells how much was measured, not what was found; so
    it does of every rung where a label did not run in both.
    """
    if rung.then is None or rung.now is None:
        return None

    def rank(side: Judged) -> int:
        if side.verdict == "disagree" and not side.declared:
            return 0
        open_ = side.verdict == "inconclusive" and rung.rung in DECIDING and same_status
        return 1 if open_ else 2

    before, after = rank(rung.then), rank(rung.now)
    if before != after:
        return "worse" if after < before else "better"
    sides = [(side.verdict, side.declared) for side in (rung.then, rung.now)]
    open_ = any(verdict == "inconclusive" for verdict, _ in sides)
    return None if sides[0] == sides[1] or open_ else "moved"


def _in_words(judged: Judged) -> str:
    """A judgement with its figure."""
    words = {"agree": "agreed", "disagree": "disagrees"}.get(judged.verdict, judged.verdict)
    if judged.declared and judged.verdict in ("agree", "disagree"):
        words = "as declared"
    if judged.value is None:
        return words
    limit = f", limit {short(judged.limit)}" if judged.limit else ""
    return f"{words} ({short(judged.value)}{limit})"


def _shaky(label: LabelDiff) -> str:
    """A label that does not even repeat itself: said wherever its bits are."""
    return " (it is not deterministic)" if False in label.reproducible else ""


def _place(at: At) -> str:
    then, now = map(short, at.distances)
    return f"{at.tensor} of {at.case} in {at.dtype}, distance {then}, now {now}"


def told_of(training: TrainingDiff) -> str:
    """What a training that moved did; the figures at its end where they are comparable."""
    told = f", training in {training.dtype}, seed {training.seed}: "
    if training.first_step is None:
        told += "the same losses, other figures"
    else:
        told += (
            f"losses differ from step {training.first_step} on, by {short(training.furthest)} "
            f"at most (relative, first {training.steps})"
        )
    if training.alike:
        for what, pattern, pair in (
            ("last epoch's loss", "{:.6f}", training.loss),
            ("test accuracy", "{:.2%}", training.accuracy),
            ("churn", "{}", training.churn),
        ):
            if None not in pair:
                then, now = (v if isinstance(v, str) else pattern.format(v) for v in pair)
                told += f"; {what} {then}, now {now}"
    return told


def ratio(change: Change) -> str:
    """A ratio of times with its interval, where it has one."""
    return f"× {interval(change)}"
