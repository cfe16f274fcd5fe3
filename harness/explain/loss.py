"""Other conventions of the loss: each gives its value, and the gradients that follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec
import numpy as np

from harness.explain.hypothesis import (
    EPSILONS,
    Hypothesis,
    Number,
    Predict,
    Prediction,
    fit,
    fitted,
)
from harness.explain.seen import Seen
from harness.interface import Array, State
from harness.measure.distance import norm
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.limits import ROOM
from harness.workloads.reference.losses import (
    BinaryCrossEntropy,
    HalfSquaredSum,
    Quadratic,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)

# A loss of outputs and targets, with its gradient by the outputs.
LossOf = Callable[[Array, Array], tuple[float, Array]]
BOTH = ("loss", "step loss")
EPS = float(np.finfo(np.float64).eps)
CROSS_ENTROPIES = SoftmaxCrossEntropy | SigmoidCrossEntropy | BinaryCrossEntropy


def _values(loss: float, grads: State) -> State:
    told: State = dict.fromkeys(BOTH, np.array(loss))
    return told | {f"grad.{name}": grad for name, grad in grads.items()}


def _with(seen: Seen, loss: LossOf) -> State:
    """What a step gives with another loss of the outputs."""
    look = Composed(seen.judge.net, loss).look(seen.state, seen.batch)
    return _values(look.loss, look.grads)


def _other(
    change: Callable[[Seen], LossOf | None],
    seen: Seen,
    sites: Sequence[str],  # noqa: ARG001
) -> Iterator[Prediction]:
    loss = change(seen)
    if loss is not None:
        with np.errstate(all="ignore"):
            yield _of_probability(seen, _with(seen, loss))


def _rounding(seen: Seen, values: State) -> dict[str, float]:
    """What gradients are off by where a probability is, by a unit in the last place of 1.

    Beside what is left of a loss that is sure this is much.
    """
    z = seen.wanted.outputs
    d = np.random.default_rng(0).choice((-EPS, EPS), z.shape) / len(z)
    net = msgspec.structs.replace(seen.judge.net, l2=0.0)
    grads = Composed(net, lambda *_: (0.0, d)).look(seen.state, seen.batch).grads
    off = {f"grad.{name}": norm(grad) for name, grad in grads.items()}
    return {key: ROOM * off[key] / (norm(values[key]) or np.inf) for key in off}


def _of_probability(seen: Seen, values: State, *numbers: Number) -> Prediction:
    return Prediction(values, numbers, rounding=_rounding(seen, values))


# -- by how much it is multiplied ----------------------------------------------------------------


def _term(seen: Seen, names: Sequence[str]) -> tuple[float, State]:
    """The L2 term of these tensors for a factor 1, and its gradients."""
    value = sum(float(np.sum(seen.state[name] ** 2)) for name in names) / 2
    return value, {name: seen.state[name] for name in names}


def _scaled(seen: Seen, factor: float) -> State:
    """The loss of the data so many times; an L2 term as it is."""
    l2, (term, of) = seen.judge.net.l2, _term(seen, seen.judge.net.weights())
    grads = {}
    for name, grad in seen.wanted.grads.items():
        own = l2 * of[name] if name in of else np.zeros_like(grad)
        grads[name] = factor * (grad - own) + own
    return _values(factor * (seen.wanted.loss - l2 * term) + l2 * term, grads)


def _times(
    factor: Callable[[Seen], float | None],
    seen: Seen,
    sites: Sequence[str],  # noqa: ARG001
) -> Iterator[Prediction]:
    number = factor(seen)
    if number is not None and number != 1:
        yield Prediction(_scaled(seen, number))


def _samples(seen: Seen) -> float:
    """What makes a sum of a mean, or a mean of a sum."""
    summed = isinstance(seen.judge.net.loss, HalfSquaredSum)
    return 1 / seen.samples if summed else float(seen.samples)


def _elements(seen: Seen) -> float:
    """What makes a mean over samples and outputs of one over samples."""
    return 1 / math.prod(seen.wanted.workload.outputs)


def _full_batch(seen: Seen) -> float | None:
    size = seen.wanted.workload.batch_size
    return seen.samples / size if size else None


KNOWN = (_samples, _elements, _full_batch, lambda _: 2.0, lambda _: 0.5)


def _factor(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    """Any factor that has no name."""
    named = [Number(n) for factor in KNOWN if (n := factor(seen)) is not None]
    for prediction in fitted(seen, sites, partial(_scaled, seen), (1.0,)):
        if not any(prediction.numbers[0].meets(one) for one in named):
            yield prediction


# -- of other outputs, of other targets ----------------------------------------------------------


def _softmax(z: Array) -> Array:
    exp = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=-1, keepdims=True))


def _sigmoid(z: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)))


def _twice(seen: Seen) -> LossOf | None:
    """The loss of the probabilities, as if they were what they are made of."""
    right = seen.judge.net.loss
    if isinstance(right, SoftmaxCrossEntropy):

        def softmaxed(z: Array, y: Array) -> tuple[float, Array]:
            p = _softmax(z)
            loss, d = right(p, y)
            return loss, p * (d - (d * p).sum(axis=-1, keepdims=True))

        return softmaxed
    if isinstance(right, SigmoidCrossEntropy | BinaryCrossEntropy):

        def sigmoided(z: Array, y: Array) -> tuple[float, Array]:
            p = _sigmoid(z)
            loss, d = right(p, y)
            return loss, d * p * (1 - p)

        return sigmoided
    return None


def _smoothed(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    """A share of every target is spread over all classes: linear in that share."""
    right = seen.judge.net.loss

    def spread(z: Array, _: Array) -> tuple[float, Array]:
        if isinstance(right, SoftmaxCrossEntropy):
            p, n = _softmax(z), z.shape[0]
            log_p = z - z.max(axis=1, keepdims=True)
            log_p = log_p - np.log(np.exp(log_p).sum(axis=1, keepdims=True))
            return float(-log_p.mean()), (p - 1 / z.shape[1]) / n
        return right(z, np.full(z.shape, 0.5))

    if isinstance(right, CROSS_ENTROPIES):
        here, all_of_it = _with(seen, right), _with(seen, spread)

        def family(share: float) -> State:
            return {k: (1 - share) * v + share * all_of_it[k] for k, v in here.items()}

        yield from fitted(seen, sites, family, (0.1,))


# -- probabilities near 0 ------------------------------------------------------------------------


def _of_probabilities(
    seen: Seen, log: Callable[[Array, float], tuple[Array, Array]]
) -> Callable[[float], LossOf] | None:
    """The cross-entropy with another logarithm, which gives its slope too, by its number."""
    right = seen.judge.net.loss

    def by_classes(z: Array, y: Array, eps: float) -> tuple[float, Array]:
        p, n, rows = _softmax(z), len(z), np.arange(len(z))
        value, slope = log(p[rows, y], eps)
        d = -(slope * p[rows, y])[:, None] * ((np.arange(z.shape[1]) == y[:, None]) - p)
        return float(-value.mean()), d / n

    def by_numbers(z: Array, y: Array, eps: float) -> tuple[float, Array]:
        p, n = z, len(z)
        if isinstance(right, SigmoidCrossEntropy):
            p = _sigmoid(z)
            y = y if y.ndim == z.ndim else np.asarray(y[:, None] == np.arange(z.shape[1]), float)
        (one, up), (other, down) = log(p, eps), log(1 - p, eps)
        d = -y * up + (1 - y) * down
        if isinstance(right, SigmoidCrossEntropy):
            d = d * p * (1 - p)
        return float(-(y * one + (1 - y) * other).sum() / n), d / n

    if isinstance(right, SoftmaxCrossEntropy):
        return lambda eps: partial(by_classes, eps=eps)
    if isinstance(right, SigmoidCrossEntropy | BinaryCrossEntropy):
        return lambda eps: partial(by_numbers, eps=eps)
    return None


def _clipped(p: Array, eps: float) -> tuple[Array, Array]:
    """Log of p, which is eps at least and 1 - eps at most, and its slope."""
    inside = (p > eps) & (p < 1 - eps)
    kept = np.clip(p, eps, 1 - eps)
    return np.log(kept), np.where(inside, 1 / kept, 0.0)


def _inside(p: Array, eps: float) -> tuple[Array, Array]:
    return np.log(p + eps), 1 / (p + eps)


def _near_zero(log: Callable[[Array, float], tuple[Array, Array]], seen: Seen,
               sites: Sequence[str]) -> Iterator[Prediction]:  # fmt: skip
    """The number is found from the loss alone; the gradients must follow."""
    made = _of_probabilities(seen, log)
    if made is None or "loss" not in sites:
        return
    outputs = seen.wanted.outputs if seen.wanted.training is None else seen.wanted.training
    y = seen.batch["y"]
    rest = _term(seen, seen.judge.net.weights())[0] * seen.judge.net.l2

    def loss(eps: float) -> State:
        return {"loss": np.array(made(eps)(outputs, y)[0] + rest)}

    number = fit(seen, ("loss",), loss, EPSILONS)
    if number is not None and number.value > 0:
        with np.errstate(all="ignore"):
            yield _of_probability(seen, _with(seen, made(number.value)), number)


# -- shapes, and the L2 term ---------------------------------------------------------------------


def _broadcast(seen: Seen) -> LossOf | None:
    """(n, 1) less (n,): every output against every target."""
    if not isinstance(seen.judge.net.loss, Quadratic) or seen.wanted.workload.outputs != (1,):
        return None

    def loss(z: Array, y: Array) -> tuple[float, Array]:
        apart = z - y.reshape(1, -1)
        return float(0.5 * np.mean(apart**2)), apart.mean(axis=1, keepdims=True) / len(z)

    return loss


def _terms(
    more: Callable[[Seen], dict[str, float]],
    seen: Seen,
    sites: Sequence[str],  # noqa: ARG001
) -> Iterator[Prediction]:
    """The L2 term so many times more of each tensor."""
    if not seen.judge.net.l2:
        return
    loss, grads = seen.wanted.loss, {**seen.wanted.grads}
    for name, factor in more(seen).items():
        loss += factor * seen.judge.net.l2 * _term(seen, (name,))[0]
        grads[name] = grads[name] + factor * seen.judge.net.l2 * seen.state[name]
    yield Prediction(_values(loss, grads))


def _of_weights(factor: float, seen: Seen) -> dict[str, float]:
    return dict.fromkeys(seen.judge.net.weights(), factor)


def _of_biases(seen: Seen) -> dict[str, float]:
    weights = seen.judge.net.weights()
    return {t.name: 1.0 for t in seen.wanted.workload.trained if t.name not in weights}


def _added(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    """An L2 term of the weights where there is to be none."""
    if seen.judge.net.l2:
        return
    term, of = _term(seen, seen.judge.net.weights())
    grads = seen.wanted.grads

    def family(factor: float) -> State:
        return _values(
            seen.wanted.loss + factor * term,
            {name: g + factor * of[name] if name in of else g for name, g in grads.items()},
        )

    yield from fitted(seen, sites, family, (0.01,))


def _or_told(predict: Predict, seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    """Each prediction, and the same of the loss that is told alone."""
    for one in predict(seen, sites):
        yield one
        if not one.numbers:
            yield Prediction({key: one.values[key] for key in BOTH}, of=" where it is told alone")


def _loss(id_: str, sentence: str, here: str, there: str, predict: Predict, by: str = "",
          where: str = "") -> Hypothesis:  # fmt: skip
    whole = partial(_or_told, predict)
    return Hypothesis(id_, ("loss",), f"{sentence}{{of}}", here, there, whole, by, where)


TABLE = (
    _loss(
        "loss-sum", "the loss is a sum over the samples where the judge's is a mean, or the "
        "reverse", "mean over the samples", "sum over the samples", partial(_times, _samples),
        by="a sum only where asked for (reduction=\"sum\"); Optax's losses give one a sample",
        where="torch.nn.CrossEntropyLoss, keras.losses: reduction; optax.losses",
    ),
    _loss(
        "loss-elements", "the loss is a mean over the samples and the outputs of each",
        "sum over the outputs, mean over the samples", "mean over all elements",
        partial(_times, _elements),
        by="torch's MSELoss and BCELoss; Keras' losses take the mean over the last axis",
        where='torch.nn.MSELoss: "the sum operation still operates over all the elements"',
    ),
    _loss(
        "loss-full-batch", "the loss is divided by the full batch's size, not by this one's",
        "sum / n", "sum / batch size", partial(_times, _full_batch),
    ),
    _loss(
        "loss-doubled", "the loss has no factor 1/2 where the judge's has it", "(o - y)² / 2",
        "(o - y)²", partial(_times, lambda _: 2.0),
        by="the mean squared error of torch and Keras; optax.l2_loss has the 1/2",
        where="torch.nn.MSELoss, keras.losses.MeanSquaredError, optax.l2_loss",
    ),
    _loss(
        "loss-halved", "the loss has a factor 1/2 where the judge's has none", "L", "L / 2",
        partial(_times, lambda _: 0.5), by="optax.l2_loss",
        where="optax.l2_loss: 0.5 * squared_error",
    ),
    _loss(
        "loss-factor", "the loss is {0} times what it should be", "L", "c L", _factor,
    ),
    _loss(
        "loss-twice-normalised", "softmax or sigmoid is applied twice: the loss takes "
        "probabilities for logits", "loss(z)", "loss(softmax(z)), loss(sigmoid(z))",
        partial(_other, _twice),
        by="torch's CrossEntropyLoss takes logits; Keras' takes probabilities unless "
        "from_logits=True",
        where="torch.nn.CrossEntropyLoss; keras.losses.CategoricalCrossentropy: from_logits",
    ),
    _loss(
        "label-smoothing", "labels are smoothed by {0}", "y", "(1 - ε) y + ε / classes",
        _smoothed, by="0 everywhere unless asked for",
        where="torch.nn.CrossEntropyLoss, keras.losses.CategoricalCrossentropy: label_smoothing",
    ),
    _loss(
        "probability-clipped", "probabilities are clipped at {0}", "log p",
        "log clip(p, ε, 1 - ε)", partial(_near_zero, _clipped),
        by="Keras: 1e-7 where it is given probabilities",
        where="keras/src/backend: categorical_crossentropy; keras.config.epsilon",
    ),
    _loss(
        "log-plus-eps", "{0} is added inside the logarithm", "log p", "log(p + ε)",
        partial(_near_zero, _inside), by="1e-8 in torch's PoissonNLLLoss",
        where="torch.nn.PoissonNLLLoss: eps",
    ),
    _loss(
        "loss-broadcast", "outputs (n, 1) less targets (n,) broadcast to (n, n)",
        "o[i] - y[i]", "o[i] - y[j]", partial(_other, _broadcast),
        by="NumPy's rule, of all; torch warns", where="torch.nn.functional.mse_loss",
    ),
    _loss(
        "l2-missing", "the L2 term is left out", "L + λ/2 Σw²", "L",
        partial(_terms, partial(_of_weights, -1.0)),
        by="weight decay of an optimiser is in no loss: torch, Keras, Optax",
        where="torch.optim.SGD, keras.optimizers: weight_decay",
    ),
    _loss(
        "l2-no-half", "the L2 term has no factor 1/2", "λ/2 Σw²", "λ Σw²",
        partial(_terms, partial(_of_weights, 1.0)),
        by="keras.regularizers.L2; tf.nn.l2_loss and torch's weight_decay have the 1/2",
        where="keras.regularizers.L2: l2 * reduce_sum(square(x)); tf.nn.l2_loss",
    ),
    _loss(
        "l2-of-biases", "the L2 term is of the biases too", "weights", "all that is trained",
        partial(_terms, _of_biases), by="torch: weight_decay is of every parameter given",
        where="torch.optim.SGD: weight_decay",
    ),
    _loss(
        "l2-added", "the loss has an L2 term λ/2 Σw² with λ = {0}", "L", "L + λ/2 Σw²",
        _added, by="kernel_regularizer of Keras' layers: λ is twice its l2",
        where="keras.regularizers.L2",
    ),
)  # fmt: skip
