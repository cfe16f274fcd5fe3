"""The questions in their order: calls both functions, keeps what they gave, stops at an answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from harness.errors import InputError
from harness.interface import Array
from harness.measure import rounding
from harness.measure.rounding import Numbers
from harness.pair import deciding, special
from harness.pair.arguments import OVERFLOWING, Arguments, Point, at, broadcasts, special_points
from harness.pair.comparing import identical, numbers, of_gradients, of_values
from harness.pair.deciding import Finding, Seen, Slopes
from harness.pair.document import BROADCAST, QUESTIONS, SPECIAL, UNTOLD, Answer, Question
from harness.pair.sides import Callee, Lost
from harness.pair.special import Judged, Where
from harness.progress import Progress
from harness.workers.calling import Called

# With these answers nothing that follows says any more.
FINAL = ("cannot be told", "one does not repeat itself", "different functions")

# What rounding inside a function may be behind.
ROUNDED = ("different functions", "precision")


class Asked:
    """A pair that is asked. `findings`: in order; `judged`: special points; `seen`: the numbers."""

    def __init__(
        self,
        sides: Sequence[Callee],
        truth: Callee | None,
        given: Arguments,
        progress: Progress,
    ) -> None:
        """Ask all; InputError where a function cannot be loaded."""
        self._sides = {side.name: side for side in sides}
        self._truth, self._given, self._progress = truth, given, progress
        self.findings: list[Finding] = []
        self.judged: list[Judged] = []
        a, b = self._sides
        first = self._both("float32")
        empty = not any(array.size for array in given.arrays.values())
        self.seen = Seen(names=(a, b), floats=bool(given.floats), single=first, empty=empty)
        try:
            self._ask()
        except Lost as error:
            self._unasked(str(error), UNTOLD)

    def _ask(self) -> None:
        seen = self.seen
        if self._found(deciding.what_comes_out(seen)):
            return
        self._progress.phase("does each repeat itself", 0)
        seen.again = self._both("float32")
        if self._found(deciding.repeats(seen)):
            return
        self._progress.phase("float64, and the noise of float32", 0)
        self._measure()
        asks = (deciding.in_float64, deciding.in_float32)
        if seen.wide and any(ask(seen).answer in ROUNDED for ask in asks):
            self._look_for_rounding()
        if self._found(deciding.in_float64(seen)) or self._found(deciding.in_float32(seen)):
            return
        self._progress.phase("gradients", 0)
        self._differentiate()
        if self._found(deciding.gradients(seen)):
            return
        self._points(SPECIAL, special_points(self._given))
        self._points(BROADCAST, broadcasts(self._given))

    def bits(self) -> bool:
        """Whether nothing that both gave differs in any bit."""
        a, b = self.seen.names
        pairs = [(calls[a], calls[b]) for calls in (self.seen.single, self.seen.wide) if calls]
        return all(map(self._identical, pairs)) and all(each.bits for each in self.judged)

    def _identical(self, pair: tuple[Called, Called]) -> bool:
        one, other = map(numbers, pair)
        return identical(
            *({n: v for n, v in t.items() if n in one and n in other} for t in (one, other))
        )

    def _found(self, finding: Finding) -> bool:
        """Keep a finding; whether it is the last, so that the rest is not asked."""
        self.findings.append(finding)
        if finding.answer not in FINAL:
            return False
        self._unasked("the answer is known")
        return True

    def _unasked(self, why: str, answer: Answer | None = None) -> None:
        """Say of every question that is left why it was not asked, and what that makes of it."""
        known = {finding.question.question for finding in self.findings}
        self.findings += [
            Finding(Question(question=name, outcome="not asked", note=why), answer, why)
            for name in QUESTIONS
            if name not in known
        ]

    def _both(
        self, dtype: str, given: Arguments | None = None, strided: str = ""
    ) -> dict[str, Called]:
        given = given or self._given
        return {
            name: side.call(given, dtype, gradient=side.framework != "numpy", strided=strided)
            for name, side in self._sides.items()
        }

    # ---- float64, and what float32 may be off ----------------------------------------------------

    def _measure(self) -> None:
        """The float64 of both, whose numbers are the truth, and how far those stray."""
        seen, arrays = self.seen, self._given.arrays
        values = of_values(numbers(seen.single[seen.names[0]]))
        seen.terms, seen.counts = (
            rounding.terms(arrays, [*values.values()]),
            rounding.counts(arrays),
        )
        if seen.floats:
            seen.wide = self._both("float64")
        kept = [name for name in seen.wide if name not in seen.lacking()]
        true = self._truth
        if true is not None:
            called = true.call(self._given, "float64")
            why = deciding.lacks(seen.single[seen.names[0]], called)
            if why:
                raise InputError(f"the truth {why}")
            seen.truth, seen.given = true.name, True
        elif kept:
            true = self._sides[kept[0]]
            seen.truth, called = true.name, seen.wide[true.name]
        if true is None:
            return
        tables = {true.name: (true, of_values(numbers(called)))}
        able = [name for name in kept if seen.wide[name].gradients]
        if able:
            of = true.name if true.name in able else able[0]
            side, wanted = tables.get(of, (self._sides[of], {}))
            tables[of] = side, wanted | of_gradients(numbers(seen.wide[of]))
        for side, wanted in tables.values():
            self._stray(side, wanted)
            seen.want |= wanted

    def _stray(self, of: Callee, want: dict[str, Array]) -> None:
        """How far the numbers of a side stray, for each size of a shift."""
        seen, arrays = self.seen, self._given.arrays
        coarse = rounding.relative(2 * rounding.BFLOAT16)
        for table, step, draws in (
            (seen.noise, rounding.last_place, rounding.DRAWS),
            (seen.fine, rounding.relative(rounding.AGREE), rounding.FEW_DRAWS),
            (seen.coarse, coarse, rounding.FEW_DRAWS),
        ):
            moved = [rounding.shifted(arrays, step, draw) for draw in range(draws)]
            gradient = of.framework != "numpy"
            calls = [of.call(at(self._given, m), "float64", gradient=gradient) for m in moved]
            tables = [numbers(each) for each in calls]
            for name, true in want.items():
                table[name] = rounding.stray(true, [t[name] for t in tables if name in t])

    def _look_for_rounding(self) -> None:
        """Which side gives the same bits where an argument has been rounded, and the other not."""
        seen = self.seen
        single = {name: of_values(numbers(seen.single[name])) for name in seen.names}
        for mode, rounded in rounding.MODES.items():
            for name in self._given.floats:
                self._unmoved(name, rounded, "float32", single, mode)
        if not seen.lacking():
            wide = {name: of_values(numbers(seen.wide[name])) for name in seen.names}
            for name in self._given.floats:
                self._unmoved(name, rounding.dithered, "float64", wide)
            arrays = self._given.arrays
            moved = {name: rounding.dithered(arrays[name]) for name in self._given.floats}
            calls = self._both("float64", at(self._given, {**arrays, **moved}))
            on_grid = [n for n in seen.names if rounding.in_float32(of_values(numbers(calls[n])))]
            if len(on_grid) == 1:
                only = deciding.Rounds("gives only numbers of float32 for float64", coarse=False)
                seen.rounds.setdefault(on_grid[0], only)

    def _unmoved(
        self,
        argument: str,
        step: rounding.Step,
        dtype: str,
        base: Mapping[str, Numbers],
        mode: str = "",
    ) -> None:
        """Note the one side, if it is one, for which moving an argument changes nothing.

        mode: whose rounding it is moved by; "" for float32's.
        """
        arrays = self._given.arrays
        moved = at(self._given, {**arrays, argument: step(arrays[argument])})
        same = [
            name
            for name, side in self._sides.items()
            if identical(of_values(numbers(side.call(moved, dtype))), base[name])
        ]
        if len(same) == 1:
            what = f"rounds {argument} as {mode} does" if mode else f"rounds {argument} to float32"
            self.seen.rounds.setdefault(same[0], deciding.Rounds(what, coarse=bool(mode)))

    def _differentiate(self) -> None:
        """Central differences of a side that has no gradients of its own, where the other has."""
        seen = self.seen
        without = [name for name in seen.names if seen.wide and not seen.wide[name].gradients]
        if len(without) != 1 or seen.lacking():
            return
        found = self._sides[without[0]].differences(self._given)
        if self._sides[without[0]].framework == "numpy" and found is not None:
            seen.slopes = {
                name: Slopes(*(found[f"{what}.{name}"] for what in ("at", "slope", "error")))
                for name in self._given.floats
                if f"at.{name}" in found
            }

    # ---- special points --------------------------------------------------------------------------

    def _points(self, question: str, points: Iterable[Point]) -> None:
        """Ask both at every point, and say what all of them come to."""
        judged, left = [], ""
        self._progress.phase(question, 0)
        try:
            for point in points:  # no list of them: each holds a copy of an argument
                judged.append(self._at(question, point))  # noqa: PERF401 - what was asked is kept
        except Lost as error:
            left = f"others not asked: {error}"
        self.judged += judged
        self.findings.append(special.at_all(question, judged, self.seen.names, left))

    def _at(self, question: str, point: Point) -> Judged:
        where = Where(question, point.name, point.argument)
        given = at(self._given, point.arrays)
        calls = self._both("float32", given, point.argument if point.strided else "")
        share = self._share()
        judged = special.at_point(where, calls, self.seen.single, share=share)
        if judged.first is not None and point.name in OVERFLOWING and self.seen.want:
            side = self._truth or self._sides[self.seen.truth]
            want = of_values(numbers(side.call(given, "float64")))
            if special.neither_right(calls, want, share):
                return judged._replace(why="both overflow on the way")
        if not judged.finite or not self.seen.want:
            return judged
        # Numbers that are both finite may differ by rounding that is large here.
        return special.at_point(where, calls, self.seen.single, self._noise_at(point, given), share)

    def _share(self) -> float:
        """By how much of an element both may differ at a special point: what one rounds, twice."""
        distances = [
            float(finding.question.distance or 0)
            for finding in self.findings
            if finding.answer == "precision"
        ]
        return max([rounding.SPECIAL, *(2 * d for d in distances if math.isfinite(d))])

    def _noise_at(self, point: Point, given: Arguments) -> dict[str, Array]:
        """How far the truth strays at a point that itself stays as it is; zeros stay too.

        Times the root of how many terms it may sum: of equal ones the roundings add up.
        """
        kept = {name: array == 0 for name, array in point.arrays.items()}
        if point.kept:
            kept[point.argument].reshape(-1)[[*point.kept]] = True
        side = self._truth or self._sides[self.seen.truth]
        want = of_values(numbers(side.call(given, "float64")))
        moved = [
            at(given, rounding.shifted(point.arrays, rounding.last_place, draw, kept))
            for draw in range(rounding.FEW_DRAWS)
        ]
        tables = [numbers(side.call(each, "float64")) for each in moved]
        sums = math.sqrt(rounding.terms(point.arrays, [*want.values()]))
        return {
            name: sums * rounding.stray(true, [t[name] for t in tables if name in t])
            for name, true in want.items()
        }
