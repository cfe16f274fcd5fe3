"""Other conventions of the gradients, from the judge's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from harness.explain.forward import OPERANDS
from harness.explain.hypothesis import Hypothesis, Prediction, fitted
from harness.explain.seen import Seen
from harness.interface import Array, State
from harness.measure.distance import norm
from harness.workloads.reference.base import Keep, Pass, Piece
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.optimisers import moved
from harness.workloads.reference.pieces import Relu, Residual

# What torch.nn.utils.clip_grad_norm_ adds to the norm that it divides by.
OF_TORCH = 1e-6
# Down to a four-thousandth of the gradients a size is looked for that they are clipped at.
HALVED = 13


class AtKink(Relu, frozen=True):
    """A ReLU whose derivative at 0 is `slope`."""

    slope: float = 1.0

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:
        return np.where(keep["z"] == 0.0, self.slope * d, super().back(d, at, keep))


def of_grads(grads: State) -> State:
    """Gradients under the keys that a worker writes them under."""
    return {f"grad.{name}": grad for name, grad in grads.items()}


def of_gradients(sites: Sequence[str]) -> tuple[str, ...]:
    """Those of these keys that gradients stand under."""
    return tuple(key for key in sites if key.startswith("grad."))


# What becomes of a gradient: of itself, the tensor, and a number.
Change = Callable[[Array, Array, float], Array]


def _each(change: Change, starts: Sequence[float], seen: Seen, sites: Sequence[str]
          ) -> Iterator[Prediction]:  # fmt: skip
    """Every gradient changed alike; a number is fitted to those that are named."""
    grads, state = seen.wanted.grads, seen.state

    def family(number: float) -> State:
        return of_grads({name: change(g, state[name], number) for name, g in grads.items()})

    if sites := of_gradients(sites):
        yield from fitted(seen, sites, family, starts)


def _step(seen: Seen, grads: State) -> State:
    """What a step takes by these gradients, and the slots after it, as a worker writes them."""
    taken, slots = moved(seen.wanted.workload.optimiser, seen.state, grads)
    return {f"new.{name}": value for name, value in (taken | slots).items()}


def _clipped(
    ways: Mapping[str, Callable[[State, float], State]],
    size: Callable[[State], float],
    seen: Seen,
    sites: Sequence[str],
) -> Iterator[Prediction]:
    """Gradients that exceed a size are brought down to it: those that are read, or a step's own.

    ways: how, by what a sentence says of it; size(gradients): from where on none is clipped. A step
    does not show its gradients, so the size is looked for from there down.
    """
    grads, read = seen.wanted.grads, of_gradients(sites)
    written = of_grads if read else partial(_step, seen)
    own = written(grads)
    sites = read or tuple(key for key in sites if key in own)
    starts: Sequence[float] = [size(grads) * 0.5**halved for halved in range(HALVED)]
    if read:
        held = size({key: seen.tensors[key].astype(np.float64) for key in read})
        starts = [held] if 0 < held < starts[0] else []
    if sites and any(starts):
        for of, clip in ways.items():
            family = partial(lambda clip, most: written(clip(grads, most)), clip)
            for one in fitted(seen, sites, family, starts):
                yield one._replace(of=of)


def _all(grads: State) -> float:
    return norm(np.array([norm(grad) for grad in grads.values()]))


def _largest(of: Callable[[Array], float], grads: State) -> float:
    return max(map(of, grads.values()), default=0.0)


def _by_all(more: float, grads: State, most: float) -> State:
    share = min(1.0, most / (_all(grads) + more or np.inf))
    return {name: grad * share for name, grad in grads.items()}


def _by_own(more: float, grads: State, most: float) -> State:
    return {name: _by_all(more, {name: grad}, most)[name] for name, grad in grads.items()}


def _by_value(grads: State, most: float) -> State:
    return {name: np.clip(grad, -most, most) for name, grad in grads.items()}


def _exact_or_torchs(clip: Callable[[float, State, float], State]) -> dict[str, Any]:
    return {"": partial(clip, 0.0), ", divided by that norm + 1e-6": partial(clip, OF_TORCH)}


def _at_kink(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    """Another derivative of ReLU at exactly 0: linear in it while one layer has such a unit."""
    here, sites = of_grads(seen.wanted.grads), of_gradients(sites)

    def family(slope: float) -> State:
        return of_grads(_look(seen, replaced(seen.judge, Relu, slope=slope)))

    if sites and any(norm(value - here[key]) for key, value in family(1.0).items()):
        yield from fitted(seen, sites, family, (0.5, 1.0))


def replaced(judge: Composed, kind: type[Piece], **changed: object) -> Composed:
    """The judge with every layer of a kind changed: a ReLU is an `AtKink` then."""

    def other(layer: Piece) -> Piece:
        if isinstance(layer, Residual):
            sides = {side: tuple(map(other, getattr(layer, side))) for side in SIDES}
            return msgspec.structs.replace(layer, **sides)
        if not isinstance(layer, kind):
            return layer
        layer = AtKink() if isinstance(layer, Relu) else layer
        return msgspec.structs.replace(layer, **changed)

    layers = tuple(map(other, judge.net.layers))
    return Composed(msgspec.structs.replace(judge.net, layers=layers))


SIDES = ("branch", "shortcut")


def _look(seen: Seen, judge: Composed) -> State:
    return judge.look(seen.state, seen.batch).grads


def _rounded(
    operand: Callable[[Array], Array],
    seen: Seen,
    sites: Sequence[str],  # noqa: ARG001
) -> Iterator[Prediction]:
    """Operands rounded in every product, in every one of the way back, and in each alone."""
    parts = [*seen.judge.net.products(1)]
    back = [number for number, (_, part) in enumerate(parts) if not part.endswith("forward")]
    sets = [[*range(len(parts))], back]
    if not seen.heavy:
        sets += [[number] for number in range(len(parts))]
    for numbers in sets:
        judge = seen.judge
        for number in numbers:
            judge = judge.rounded(number, operand)
        with np.errstate(all="ignore"):
            yield Prediction(of_grads(_look(seen, judge)))


GRADIENTS = ("gradients",)
# Whoever clips between the gradients and the step shows it in the update alone.
CLIPPED = ("gradients", "update")
TABLE = (
    Hypothesis(
        "gradient-missing", GRADIENTS, "the gradient is 0", "g", "0",
        partial(_each, lambda g, p, t: np.zeros_like(g), ()),  # noqa: ARG005
    ),
    Hypothesis(
        "gradient-factor", GRADIENTS, "the gradient is {0} times what it should be", "g", "c g",
        partial(_each, lambda g, p, t: t * g, (1.0,)),  # noqa: ARG005
        by="gradients that add up over calls until they are reset: torch",
        where="torch.optim.Optimizer.zero_grad",
    ),
    Hypothesis(
        "clipped-global-norm", CLIPPED, "gradients are clipped at the norm {0} of all "
        "together{of}",
        "g", "g min(1, M / |all g|)", partial(_clipped, _exact_or_torchs(_by_all), _all),
        by="torch.nn.utils.clip_grad_norm_ (M / (norm + 1e-6)), optax.clip_by_global_norm, Keras' "
        "global_clipnorm",
        where="torch/nn/utils/clip_grad.py; optax.clip_by_global_norm",
    ),
    Hypothesis(
        "clipped-own-norm", CLIPPED, "each gradient is clipped at the norm {0}{of}", "g",
        "g min(1, M / |g|)",
        partial(_clipped, _exact_or_torchs(_by_own), partial(_largest, norm)),
        by="Keras' clipnorm", where="keras.optimizers.Optimizer: clipnorm",
    ),
    Hypothesis(
        "clipped-by-value", CLIPPED, "each element of a gradient is clipped at {0}", "g",
        "clip(g, -M, M)",
        partial(_clipped, {"": _by_value}, partial(_largest, lambda g: np.abs(g).max(initial=0.0))),
        by="Keras' clipvalue, optax.clip, torch.nn.utils.clip_grad_value_",
        where="keras.optimizers.Optimizer: clipvalue",
    ),
    Hypothesis(
        "relu-at-zero", GRADIENTS, "ReLU's derivative at exactly 0 is {0}", "0", "1/2, or 1",
        _at_kink,
        by="1/2: jax.numpy.maximum(z, 0), torch.maximum; 1: tf.maximum(z, 0) and z >= 0 by hand; "
        "0: relu of every framework",
        where="https://github.com/jax-ml/jax/issues/37821; "
        "https://github.com/pytorch/pytorch/issues/184572; "
        "tensorflow/python/ops/math_grad.py: _MaximumGrad",
    ),
    Hypothesis(
        "gradient-l2", GRADIENTS, "λ p is added to the gradient, with λ = {0}", "g", "g + λ p",
        partial(_each, lambda g, p, t: g + t * p, (0.01,)),
        by="torch's weight_decay adds it, where the gradient does not show it",
        where="torch.optim.SGD: weight_decay",
    ),
    Hypothesis(
        "gradient-l1", GRADIENTS, "λ sign(p) is added to the gradient, with λ = {0}", "g",
        "g + λ sign(p)", partial(_each, lambda g, p, t: g + t * np.sign(p), (0.01,)),
        by="keras.regularizers.L1", where="keras.regularizers.L1: l1 * reduce_sum(abs(x))",
    ),
    *(
        Hypothesis(
            f"back-{name.lower().replace(', ', '-')}", GRADIENTS,
            f"the operands of products are {'cut' if 'cut' in name else 'rounded'} to "
            f"{name.partition(',')[0]}", "a @ b", "of fewer bits", partial(_rounded, operand),
            by="as on the way forward",
        )
        for name, operand in OPERANDS.items()
    ),
)  # fmt: skip
