"""What moved, each in a sentence with its figure, and the words that it is told in. Pure."""

from __future__ import annotations

from harness.record.schema import Number, Record
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
from harness.results.diff.environment import arrow
from harness.results.diff.labels import Of, trouble
from harness.results.diff.numbers import FREE
from harness.verdict.timing_stats import Change
from harness.workloads.reference.limits import DECIDING, RUNGS


def move(
    direction: Direction, kind: Kind, text: str, label: str | None = None, rung: str | None = None
) -> Move:
    """A move, its fields in their order of use."""
    return Move(direction=direction, kind=kind, label=label, rung=rung, text=text)


def order(move: Move) -> tuple[int, int]:
    """The worse first, then the better; each up the ladder, as a divergence is looked for."""
    above = {"run": -2, "label": -1, "training": len(RUNGS), "speed": len(RUNGS) + 1}
    place = RUNGS.index(move.rung) if move.rung in RUNGS else above[move.kind]
    return ("worse", "better", "moved").index(move.direction), place


def of_runs(then: Record, now: Record) -> list[Move]:
    """A run that is void, and one that was and is not any more."""
    before, after = trouble(then), trouble(now)
    if after and not before:
        return [move("worse", "run", f"the second run is void: {after}")]
    if before and not after:
        return [move("better", "run", f"the first run was void: {before}")]
    return []


def moves_of(label: LabelDiff, now: Of) -> list[Move]:
    """What moved of one label."""
    moves = []

    def say(direction: Direction, kind: Kind, text: str, rung: str | None = None) -> None:
        moves.append(move(direction, kind, f"{label.name}{text}", now.label, rung))

    then_status, now_status = label.status
    if then_status != now_status:
        why = [f" ({reason})" if reason else "" for reason in label.reason]
        text = f": was {then_status}{why[0]}, is {now_status}{why[1]}"
        # About a skipped label nothing is known.
        known = "skipped" not in label.status
        worse: Direction = "worse" if now_status == "failed" else "better"
        say(worse if known else "moved", "label", text)
    for rung in label.rungs:
        direction = _of_verdict(rung, same_status=then_status == now_status)
        if direction is not None and rung.then and rung.now:
            text = f", {rung.rung}: {_in_words(rung.then)}, now {_in_words(rung.now)}"
            if rung.now.verdict != "agree":
                sentence = now.judged.findings[rung.rung].sentence
                for named in (f"{now.label}, ", f"{rung.rung}, ", f"{rung.rung}: "):
                    sentence = sentence.removeprefix(named)
                text += f": {sentence}"
            say(direction, "verdict", text, rung.rung)
        if rung.moved and rung.first is not None:
            of = rung.identical + rung.moved
            given = "" if rung.rung in (*FREE, "inputs") else " though given the same numbers"
            text = (
                f", {rung.rung}: {rung.moved} of {of} results not the same bits{given}"
                f"{_shaky(label)}; first {_place(rung.first)}"
            )
            say("moved", "results", text, rung.rung)
        if rung.judge_moved and rung.largest is not None:
            text = (
                f", {rung.rung}: {rung.judge_moved} of {rung.identical} results the same bits at "
                f"another distance from the reference; furthest {_place(rung.largest)}"
            )
            say("moved", "judge", text, rung.rung)
    moves += [
        move("moved", "training", told_of(label.name, training) + _shaky(label), now.label)
        for training in label.trainings
        if not training.identical
    ]
    speed = label.speed
    if speed.outcome in ("slower", "faster") and speed.change is not None:
        unit = "as a multiple of the floor" if speed.unit == "floor" else "in time"
        text = f": its step is {speed.outcome}, {ratio(speed.change)} {unit} ({speed.reason})"
        say("worse" if speed.outcome == "slower" else "better", "speed", text)
    return moves


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
    if not (moved or parted):
        if not same and not label.trainings:
            return "of its numbers nothing was measured in both"
        also = f" and {len(label.trainings)} trainings" if label.trainings else ""
        sentence = f"no number moved ({same} results{also} are the same, bit for bit)"
    else:
        places = [f"{r.rung} ({r.moved} of {r.identical + r.moved} results)" for r in moved]
        if parted:
            places.append(f"training ({len(parted)} of {len(label.trainings)})")
        sentence = f"numbers moved in {', '.join(places)}"
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
    word = {
        "slower": "its step is slower",
        "faster": "its step is faster",
        "same": "speed did not move",
        "inconclusive": "whether speed moved is open",
    }[speed.outcome]
    if not speed.claim:
        word = "nothing is claimed of speed"
    return f"{word}, {ratio(speed.change)} ({speed.reason})"


def _of_verdict(rung: RungDiff, *, same_status: bool) -> Direction | None:
    """Whether a rung's judgement became better or worse; None where it says no more than before.

    Of rungs that do not decide, "inconclusive" tells how much was measured, not what was found; so
    it does of every rung where a label did not run in both.
    """
    if rung.then is None or rung.now is None:
        return None
    ranks = []
    for side in (rung.then, rung.now):
        if side.verdict == "disagree" and not side.declared:
            ranks.append(0)
        elif side.verdict == "inconclusive" and rung.rung in DECIDING and same_status:
            ranks.append(1)
        else:
            ranks.append(2)
    if ranks[0] != ranks[1]:
        return "worse" if ranks[1] < ranks[0] else "better"
    if (rung.then.verdict, rung.then.declared) == (rung.now.verdict, rung.now.declared):
        return None
    return None if "inconclusive" in (rung.then.verdict, rung.now.verdict) else "moved"


def _in_words(judged: Judged) -> str:
    """A judgement with its figure."""
    words = {
        "agree": "agreed" if not judged.declared else "as declared",
        "disagree": "as declared" if judged.declared else "disagrees",
    }.get(judged.verdict, judged.verdict)
    if judged.value is None:
        return words
    return f"{words} ({figure(judged.value)}" + (
        f", limit {figure(judged.limit)})" if judged.limit else ")"
    )


def _shaky(label: LabelDiff) -> str:
    """A label that does not even repeat itself: said wherever its bits are."""
    return " (it is not deterministic)" if False in label.reproducible else ""


def _place(at: At) -> str:
    then, now = map(figure, at.distances)
    return f"{at.tensor} of {at.case} in {at.dtype}, distance {then}, now {now}"


def told_of(name: str, training: TrainingDiff) -> str:
    """What a training that moved did; the figures at its end where they are comparable."""
    start = f"{name}, training in {training.dtype}, seed {training.seed}: "
    if training.first_step is None:
        start += "the same losses, other figures"
    else:
        start += (
            f"losses differ from step {training.first_step} on, by {figure(training.furthest)} "
            f"at most (relative, first {training.steps})"
        )
    if not training.alike:
        return start
    pairs = [
        (what, values)
        for what, values in (
            ("last epoch's loss", [_exact(v, "{:.6f}") for v in training.loss]),
            ("test accuracy", [_exact(v, "{:.2%}") for v in training.accuracy]),
            ("churn", [None if v is None else str(v) for v in training.churn]),
        )
        if None not in values
    ]
    return start + "".join(f"; {what} {then}, now {now}" for what, (then, now) in pairs)


def _exact(value: Number | None, pattern: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return pattern.format(value)


def figure(value: Number | None) -> str:
    """A distance or limit in three digits."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else f"{value:.3g}"


def ratio(change: Change) -> str:
    """A ratio of times with its interval, where it has one."""
    interval = "" if change.low is None else f" [{change.low:.3f}, {change.high:.3f}]"
    return f"× {change.value:.3f}{interval}"
