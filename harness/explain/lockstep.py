"""Other ways of going from step to step: each trains the judge anew, so or so many steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from harness.explain.hypothesis import Hypothesis, Limited, Number, Prediction
from harness.interface import Array, State, Workload
from harness.measure.distance import compare, norm
from harness.measure.ladder import loss_formula
from harness.record.schema import Measurement
from harness.workloads.reference.composed import Composed, Look, cast
from harness.workloads.reference.optimisers import RULES, stepped


@dataclass(frozen=True, eq=False)
class Trained:
    """The first steps of a free training in float64.

    batches(step): as each was given. losses, want: (steps,); held: the state after them. `off`: by
    tensor, and "losses". least: as `ladder.lockstep`'s.
    """

    judge: Composed
    workload: Workload
    initial: State
    batches: Callable[[int], State]
    losses: Array
    want: Array
    held: State
    off: dict[str, Limited]
    least: float = 0.0

    @classmethod
    def of(
        cls,
        judge: Composed,
        workload: Workload,
        initial: State,
        batches: Callable[[int], State],
        losses: tuple[Array, Array],
        held: State,
        limited: Iterable[tuple[Measurement, float, bool]],
    ) -> Trained:
        """losses: a process's and the judge's; limited: see `Seen.of`, of one comparison."""
        own, judged = losses
        off = {
            m.tensor: Limited(m, limit)
            for m, limit, within in limited
            if not within and (m.tensor == "losses" or len(own) == (m.step or 0) + 1)
        }
        least = abs(float(judged[0])) if workload.y == "none" else 0.0
        return cls(judge, workload, cast(initial), batches, own, judged, held, off, least)

    @property
    def first(self) -> int:
        """The first step whose update is wrong: the loss after it is, or the state at the end."""
        scale = np.maximum(np.abs(self.want), self.least)
        limit = min(one.limit for one in self.off.values())
        wrong = np.flatnonzero(~(np.abs(self.losses - self.want) <= limit * scale))
        if len(wrong):
            return int(wrong[0]) - 1
        return len(self.want) - 1 if {*self.off} != {"losses"} else len(self.want)

    @property
    def seen(self) -> bool:
        """Whether the first wrong step is among these."""
        return bool(self.off) and self.first < len(self.want)

    @property
    def kept(self) -> dict[str, Limited]:
        return {}

    def gap(self, key: str, value: Array) -> Array:
        """See `Looked`."""
        unit = (norm(value) or 1.0) * self.limit(key)
        return np.asarray((value - self._got(key)) / unit).ravel()

    def left(self, key: str, value: Array) -> float:
        formula = loss_formula(self.least) if key == "losses" else None
        distance = compare(self._got(key), value, "float64", formula).distance
        return math.inf if distance is None or math.isnan(distance) else distance

    def limit(self, key: str) -> float:
        return self.off[key].limit

    def size(self, keys: Sequence[str]) -> int:
        return sum(self._got(key).size for key in keys)

    def _got(self, key: str) -> Array:
        return self.losses if key == "losses" else self.held[key]


# What is next, of the step's number, the states so far and what a step saw at each.
Next = Callable[[int, list[State], list[Look]], State]


def _train(trained: Trained, follow: Next) -> Iterator[Prediction]:
    states, looks = [trained.initial], list[Look]()
    for step in range(len(trained.want)):
        looks.append(trained.judge.look(states[-1], trained.batches(step)))
        states.append(follow(step, states, looks))
    of = [len(trained.batches(step)["x"]) if trained.workload.summed else 1
          for step in range(len(looks))]  # fmt: skip
    losses = np.array([look.loss for look in looks]) / of
    yield Prediction({"losses": losses} | states[-1])


def _step(trained: Trained, state: State, look: Look) -> State:
    return stepped(trained.workload.optimiser, state | look.running, look.grads)


def _stale(trained: Trained, sites: Sequence[str]) -> Iterator[Prediction]:  # noqa: ARG001
    """Each step but the first takes the gradients of the one before."""

    def follow(step: int, states: list[State], looks: list[Look]) -> State:
        own = looks[-1]._replace(grads=looks[max(step - 1, 0)].grads)
        return _step(trained, states[-1], own)

    return _train(trained, follow)


def _stale_state(trained: Trained, sites: Sequence[str]) -> Iterator[Prediction]:  # noqa: ARG001
    """Each step's gradients are of its own batch, at the state before the last step."""

    def follow(step: int, states: list[State], looks: list[Look]) -> State:
        at = states[-2] if step else states[-1]
        grads = trained.judge.look(at, trained.batches(step)).grads
        return _step(trained, states[-1], looks[-1]._replace(grads=grads))

    return _train(trained, follow)


def _added_up(trained: Trained, sites: Sequence[str]) -> Iterator[Prediction]:  # noqa: ARG001
    """Gradients are added to those of all steps before."""

    def follow(step: int, states: list[State], looks: list[Look]) -> State:  # noqa: ARG001
        total = {n: sum((look.grads[n] for look in looks[:-1]), g)
                 for n, g in looks[-1].grads.items()}  # fmt: skip
        return _step(trained, states[-1], looks[-1]._replace(grads=total))

    return _train(trained, follow)


def _anew(trained: Trained, sites: Sequence[str]) -> Iterator[Prediction]:  # noqa: ARG001
    """The optimiser's own numbers are 0 before every step."""
    rule = RULES[trained.workload.optimiser.rule]
    if not rule.slots:
        return iter(())
    own = {tensor.name for tensor in trained.workload.tensors if tensor.role == "optimiser"}

    def follow(step: int, states: list[State], looks: list[Look]) -> State:  # noqa: ARG001
        bare = {n: np.zeros_like(v) if n in own else v for n, v in states[-1].items()}
        return _step(trained, bare, looks[-1])

    return _train(trained, follow)


def _every(times: int, trained: Trained, sites: Sequence[str]) -> Iterator[Prediction]:  # noqa: ARG001
    """Every k-th step is taken so many times, as far as two of them were seen."""
    first = trained.first
    for of, k in ((", from step k - 1 on", first + 1), (", from step k on", first)):
        last = first + k
        if k < 2 or last >= len(trained.want):
            continue

        def follow(step: int, states: list[State], looks: list[Look], k: int = k) -> State:
            held, odd = states[-1], step >= first and (step - first) % k == 0
            for _ in range(times if odd else 1):
                held = _step(trained, held, looks[-1])
            return held

        for prediction in _train(trained, follow):
            yield prediction._replace(numbers=(Number(float(k)),), of=of)


LOCKSTEP = ("lockstep",)
TABLE = (
    Hypothesis("stale-gradients", LOCKSTEP, "a step takes the gradients of the step before",
               "p[t + 1] = p[t] - lr g(p[t], batch t)", "p[t + 1] = p[t] - lr g(p[t-1], batch t-1)",
               _stale, by="pipelines that overlap a step with the next one's gradients"),
    Hypothesis("stale-parameters", LOCKSTEP, "gradients are taken at the state of the step before",
               "g(p[t], batch t)", "g(p[t-1], batch t)", _stale_state,
               by="asynchronous training with one step of delay"),
    Hypothesis("gradients-added-up", LOCKSTEP, "gradients are not reset: they add up from step to "
               "step", "g[t]", "g[0] + ... + g[t]", _added_up,
               by="torch without zero_grad", where="torch.optim.Optimizer.zero_grad"),
    Hypothesis("slots-anew", LOCKSTEP, "the optimiser's state is made anew at every step",
               "v[t] from v[t-1]", "v[t] from 0", _anew),
    Hypothesis("step-skipped", LOCKSTEP, "every {0}th step's update is skipped{of}",
               "every step", "not every k-th", partial(_every, 0)),
    Hypothesis("step-twice", LOCKSTEP, "every {0}th step's update is made twice{of}",
               "every step once", "every k-th twice", partial(_every, 2)),
)  # fmt: skip
