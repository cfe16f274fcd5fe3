"""Other conventions of the update: what a step takes from each tensor, and its slots after it.

From the judge's own gradients; of a trained tensor a prediction is what is taken from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from harness.explain.gradients import SIDES
from harness.explain.hypothesis import EPSILONS, Hypothesis, Number, Prediction, fitted
from harness.explain.seen import Seen
from harness.interface import Array, Optimiser, State
from harness.workloads.reference.base import Keep, Pass, Piece
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.optimisers import RULES, STEP
from harness.workloads.reference.pieces import BatchNorm, Residual

ADAMS = ("adam", "adamw")
MOMENTA = ("momentum", "nesterov")
OF_EPS = ("rmsprop", "adagrad", *ADAMS)
Changed = tuple[Array, State]


class At(NamedTuple):
    """One tensor at a step: its slots, itself, its gradient, the step's number from 1, the rule."""

    slots: State
    p: Array
    g: Array
    t: float
    o: Optimiser

    def by(self, **numbers: float) -> At:
        """With other numbers of the optimiser."""
        o = self.o
        return self._replace(o=msgspec.structs.replace(o, numbers=o.numbers | numbers))


# What is taken from the tensor, and its new slots; with a number, where it has one.
Change = Callable[[At, float], Changed]


def _own(at: At) -> Changed:
    """The judge's rule."""
    return RULES[at.o.rule].change(*at)


def _by_tensor(
    change: Change,
    rules: Sequence[str],
    starts: Sequence[float],
    own: Callable[[Optimiser], float] | None,
    seen: Seen,
    sites: Sequence[str],
) -> Iterator[Prediction]:
    """Every tensor changed by another rule; a number is fitted to those that are named.

    own: the number that is the rule as declared, which is no other one.
    """
    o, state = seen.wanted.workload.optimiser, seen.state
    if rules and o.rule not in rules:
        return
    rule = RULES[o.rule]
    t: Any = state[STEP] + 1 if rule.counts else 0.0
    names = {_tensor(key) for key in seen.off}
    grads = {name: g for name, g in seen.wanted.grads.items() if name in names}

    def family(number: float) -> State:
        values: State = {}
        for name, g in grads.items():
            slots = {slot: state[f"{name}/{slot}"] for slot in rule.slots}
            taken, new = change(At(slots, state[name], g, t, o), number)
            values[f"new.{name}"] = taken
            values |= {f"new.{name}/{slot}": value for slot, value in new.items()}
        return values

    if sites := tuple(key for key in sites if _tensor(key) in grads):
        for prediction in fitted(seen, sites, family, starts):
            if own is None or not any(n.meets(Number(own(o))) for n in prediction.numbers):
                yield prediction


def _tensor(key: str) -> str:
    return key.removeprefix("new.").partition("/")[0]


def _rule(id_: str, sentence: str, here: str, there: str, change: Change,
          rules: Sequence[str] = (), starts: Sequence[float] = (), by: str = "",
          where: str = "",
          own: Callable[[Optimiser], float] | None = None) -> Hypothesis:  # fmt: skip
    predict = partial(_by_tensor, change, rules, starts, own)
    return Hypothesis(id_, ("update",), sentence, here, there, predict, by, where)


# -- learning rate, momentum ---------------------------------------------------------------------


def _lr(at: At, factor: float) -> Changed:
    taken, new = _own(at)
    return factor * taken, new


def _lr_inside(sign: int, at: At, _: float) -> Changed:
    """sign: of the gradient in the velocity, which is subtracted if 1, added if -1."""
    m, step = at.o.numbers["momentum"], sign * at.o.lr * at.g
    v = m * at.slots["velocity"] + step
    return sign * (v if at.o.rule == "momentum" else m * v + step), {"velocity": v}


def _dampened(at: At, d: float) -> Changed:
    m = at.o.numbers["momentum"]
    v = m * at.slots["velocity"] + (1 - d) * at.g
    return at.o.lr * (v if at.o.rule == "momentum" else at.g + m * v), {"velocity": v}


def _other_momentum(at: At, _: float) -> Changed:
    other = {"momentum": "nesterov", "nesterov": "momentum"}[at.o.rule]
    return RULES[other].change(*at)


# -- adaptive rules ------------------------------------------------------------------------------


def _with_eps(change: Change) -> Change:
    """The same with another ε."""
    return lambda at, eps: change(at.by(eps=eps), eps)


def _declared_eps(o: Optimiser) -> float:
    return o.numbers["eps"]


def _eps_inside(at: At, _: float) -> Changed:
    new, o = _own(at)[1], at.o
    if o.rule not in ADAMS:
        return o.lr * at.g / np.sqrt(new["v"] + o.numbers["eps"]), new
    m, v = new["m"] / (1 - o.numbers["beta1"] ** at.t), new["v"] / (1 - o.numbers["beta2"] ** at.t)
    return _decayed(o.lr * m / np.sqrt(v + o.numbers["eps"]), at), new


def _decayed(taken: Array, at: At) -> Array:
    """With adamw's own decay."""
    return taken + at.o.lr * at.o.numbers.get("decay", 0.0) * at.p


def _centred(at: At, _: float) -> Changed:
    """From a mean gradient of 0: what is kept of it is in no slot of the judge's."""
    new, mean = _own(at)[1], (1 - at.o.numbers["rho"]) * at.g
    return at.o.lr * at.g / (np.sqrt(new["v"] - mean**2) + at.o.numbers["eps"]), new


def _eps_hat(at: At, _: float) -> Changed:
    new, o = _own(at)[1], at.o
    one, two = 1 - o.numbers["beta1"] ** at.t, 1 - o.numbers["beta2"] ** at.t
    step = o.lr * np.sqrt(two) / one * new["m"] / (np.sqrt(new["v"]) + o.numbers["eps"])
    return _decayed(step, at), new


def _uncorrected(at: At, _: float) -> Changed:
    new, o = _own(at)[1], at.o
    return _decayed(o.lr * new["m"] / (np.sqrt(new["v"]) + o.numbers["eps"]), at), new


def _betas_swapped(at: At, _: float) -> Changed:
    return _own(at.by(beta1=at.o.numbers["beta2"], beta2=at.o.numbers["beta1"]))


def _as_new(at: At, _: float) -> Changed:
    """From slots of 0, as the first step."""
    return _own(at._replace(slots={name: np.zeros_like(v) for name, v in at.slots.items()}, t=1.0))


def _first_step(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    rules = [name for name, rule in RULES.items() if rule.slots]
    for one in _by_tensor(_as_new, rules, (), None, seen, sites):
        yield one._replace(values=one.values | {f"new.{STEP}": np.array(1.0)})


def _starts_at(at: At, start: float) -> Changed:
    return _own(at._replace(slots={"v": at.slots["v"] + start}))


# -- weight decay --------------------------------------------------------------------------------


def _coupled(at: At, decay: float) -> Changed:
    return _own(at._replace(g=at.g + decay * at.p))


def _decoupled(at: At, decay: float) -> Changed:
    taken, new = _own(at)
    return taken + at.o.lr * decay * at.p, new


def _not_times_lr(at: At, _: float) -> Changed:
    taken, new = _own(at.by(decay=0.0))
    return taken + at.o.numbers["decay"] * at.p, new


def _coupled_own(at: At, _: float) -> Changed:
    return _coupled(at.by(decay=0.0), at.o.numbers["decay"])


def _biases_too(at: At, _: float) -> Changed:
    return _coupled(at.by(decay=0.0), at.o.numbers["decay"])


def _other_decay(at: At, decay: float) -> Changed:
    """Not one that a missing or doubled factor lr makes of the declared one: that has a name."""
    own = at.o.numbers["decay"]
    return _own(at.by(decay=np.nan if np.isclose(decay, own / at.o.lr, rtol=1e-6) else decay))


# -- running tensors -----------------------------------------------------------------------------


class OverN(BatchNorm, frozen=True):
    """Its running variance is of the batch's over n, not over n - 1."""

    def running(self, at: Pass, keep: Keep) -> State:
        biased = keep["variance"] * (max(keep["n"] - 1, 1) / keep["n"])
        return super().running(at, keep | {"variance": biased})


def _norms(layers: Sequence[Piece]) -> Iterator[BatchNorm]:
    for layer in layers:
        if isinstance(layer, Residual):
            yield from _norms([*layer.branch, *layer.shortcut])
        elif isinstance(layer, BatchNorm):
            yield layer


def _over_n(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    if any(key.removeprefix("new.") in {n.variance for n in _norms(seen.judge.net.layers)}
           for key in sites):  # fmt: skip

        def other(layer: Piece) -> Piece:
            if isinstance(layer, Residual):
                sides = {side: tuple(map(other, getattr(layer, side))) for side in SIDES}
                return msgspec.structs.replace(layer, **sides)
            if isinstance(layer, BatchNorm):
                return OverN(**{f: getattr(layer, f) for f in layer.__struct_fields__})
            return layer

        net = seen.judge.net
        judge = Composed(msgspec.structs.replace(net, layers=tuple(map(other, net.layers))))
        running = judge.look(seen.state, seen.batch).running
        yield Prediction({f"new.{name}": value for name, value in running.items()})


def _kept(weight: Callable[[float, float], float], starts: Sequence[float], seen: Seen,
          sites: Sequence[str]) -> Iterator[Prediction]:  # fmt: skip
    """Running tensors that keep another share of what they were: weight(momentum, number)."""
    norms = {n: one for one in _norms(seen.judge.net.layers) for n in (one.mean, one.variance)}
    after, state = seen.wanted.after, seen.state

    def family(number: float) -> State:
        values: State = {}
        for name, norm in norms.items():
            own, other = norm.momentum, weight(norm.momentum, number)
            batch = (after[name] - own * state[name]) / (1 - own)
            values[f"new.{name}"] = other * state[name] + (1 - other) * batch
        return values

    sites = tuple(key for key in sites if key.removeprefix("new.") in norms)
    named = [Number(1.0), *(Number(1 - one.momentum) for one in norms.values())]
    for prediction in fitted(seen, sites, family, starts) if sites else ():
        if not any(number.meets(one) for number in prediction.numbers for one in named):
            yield prediction


UPDATE = ("update",)
TABLE = (
    _rule("lr-factor", "the step is {0} times as long: the learning rate", "lr", "c lr", _lr,
          starts=(1.0,), own=lambda _: 1.0),
    _rule("not-updated", "nothing of the change is made", "p -= change", "p",
          lambda at, _: (np.zeros_like(at.p), _own(at)[1])),
    _rule("lr-in-velocity", "the learning rate stands inside the velocity",
          "v = m v + g; p -= lr v", "v = m v + lr g; p -= v", partial(_lr_inside, 1), MOMENTA,
          by="Caffe; torch, Optax and TensorFlow's MomentumOptimizer multiply the velocity",
          where='torch.optim.SGD: "differs from Sutskever et al. and implementations in some other '
          'frameworks"; caffe/src/caffe/solvers/sgd_solver.cpp: ComputeUpdateValue'),
    _rule("lr-in-velocity-added", "the velocity is what is added: the learning rate stands inside "
          "it, with a minus", "v = m v + g; p -= lr v", "v = m v - lr g; p += v",
          partial(_lr_inside, -1), MOMENTA,
          by="Keras", where="keras.optimizers.SGD; keras/src/optimizers/sgd.py: update_step"),
    _rule("dampened", "the gradient enters the velocity dampened by {0}", "v = m v + g",
          "v = m v + (1 - d) g", _dampened, MOMENTA, (0.1, 0.5, 0.9),
          by="torch's dampening, 0 by default; m for an average of gradients",
          where="torch.optim.SGD: dampening"),
    _rule("nesterov-or-not", "momentum is Nesterov's where the judge's is not, or the reverse",
          "p -= lr v, or lr (g + m v)", "p -= lr (g + m v), or lr v", _other_momentum, MOMENTA,
          by="no framework unless asked for",
          where="torch.optim.SGD, keras.optimizers.SGD, optax.sgd: nesterov"),
    _rule("eps-in-root", "ε stands inside the root", "sqrt(v) + ε", "sqrt(v + ε)", _eps_inside,
          OF_EPS,
          by="RMSprop of Keras, TensorFlow and Optax (eps_in_sqrt=True), Adagrad of Keras and "
          "Optax; torch outside",
          where="https://github.com/google-deepmind/optax/issues/532; "
          "keras/src/optimizers/rmsprop.py, adagrad.py; optax.scale_by_rss"),
    _rule("other-eps-in-root", "ε stands inside the root, and is {0}", "sqrt(v) + ε, ε as declared",
          "sqrt(v + ε), another ε", _with_eps(_eps_inside), OF_EPS, EPSILONS,
          by="1e-7 RMSprop and Adagrad of Keras, Adagrad of Optax; 1e-8 RMSprop of Optax",
          where="keras.optimizers.RMSprop, keras.optimizers.Adagrad, optax.adagrad, optax.rmsprop",
          own=_declared_eps),
    _rule("other-eps", "ε is {0}", "ε as declared", "another ε",
          _with_eps(lambda at, _: _own(at)), OF_EPS, EPSILONS,
          by="1e-8 torch and Optax, 1e-7 Keras; of Adagrad 1e-10 torch, 1e-7 Keras and Optax",
          where="torch.optim.Adam, optax.adam, keras.optimizers.Adam, torch.optim.Adagrad",
          own=_declared_eps),
    _rule("centred", "RMSprop is centred", "sqrt(v)", "sqrt(v - mean(g)²)", _centred, ("rmsprop",),
          by="no framework unless asked for",
          where="torch.optim.RMSprop, keras.optimizers.RMSprop, optax.rmsprop: centered"),
    _rule("eps-hat", "ε is the ε̂ of Kingma and Ba: added before the correction",
          "m̂ / (sqrt(v̂) + ε)", "sqrt(1 - β2^t) / (1 - β1^t) m / (sqrt(v) + ε)", _eps_hat, ADAMS,
          by="Keras and TensorFlow; torch and Optax add it after",
          where='keras.optimizers.Adam: epsilon, "epsilon hat"; keras/src/optimizers/adam.py'),
    _rule("other-eps-hat", "ε is the ε̂ of Kingma and Ba, added before the correction, and is {0}",
          "m̂ / (sqrt(v̂) + ε), ε as declared",
          "sqrt(1 - β2^t) / (1 - β1^t) m / (sqrt(v) + ε), another ε", _with_eps(_eps_hat), ADAMS,
          EPSILONS, by="1e-7 Keras", where="keras.optimizers.Adam: epsilon",
          own=_declared_eps),
    _rule("no-bias-correction", "Adam's moments are not corrected for their start at 0",
          "m / (1 - β1^t), v / (1 - β2^t)", "m, v", _uncorrected, ADAMS,
          by="BERT's own optimiser",
          where="https://github.com/google-research/bert/blob/master/optimization.py"),
    _rule("betas-swapped", "β1 and β2 are swapped", "m by β1, v by β2", "m by β2, v by β1",
          _betas_swapped, ADAMS),
    _rule("adagrad-start", "Adagrad's sum of squares starts at {0}", "0", "0.1", _starts_at,
          ("adagrad",), (0.1, 1.0),
          by="0.1 Keras, TensorFlow and Optax; 0 torch",
          where="keras.optimizers.Adagrad, optax.adagrad: initial_accumulator_value"),
    Hypothesis("slots-at-start", UPDATE, "the optimiser's own numbers are those of a first step: "
               "nothing is kept of them", "v[t] from v[t-1]", "v[1] from 0", _first_step),
    _rule("decay-coupled", "λ p is added to the gradient, with λ = {0}", "g", "g + λ p", _coupled,
          ("sgd", *MOMENTA, "rmsprop", "adagrad", "adam"), (0.01,),
          by="weight_decay of torch's SGD, Adam, RMSprop and Adagrad",
          where="torch.optim.Adam: weight_decay"),
    _rule("decay-decoupled", "weights decay by lr λ of themselves, with λ = {0}", "p -= change",
          "p -= change + lr λ p", _decoupled, (*MOMENTA, "rmsprop", "adagrad", "adam"), (0.01,),
          by="torch.optim.AdamW, optax.adamw, weight_decay of every optimiser of Keras",
          where="keras/src/optimizers/base_optimizer.py: _apply_weight_decay"),
    _rule("decay-missing", "weights do not decay", "with λ p", "without",
          lambda at, _: _own(at.by(decay=0.0)),
          ("decay", "adamw"),
          by="all but AdamW in torch, Keras and Optax, unless asked for",
          where="torch.optim.SGD, keras.optimizers.SGD: weight_decay"),
    _rule("decay-not-times-lr", "the decay is not multiplied by the learning rate",
          "p -= lr λ p", "p -= λ p", _not_times_lr, ("decay", "adamw"),
          by="Loshchilov and Hutter: by a schedule's factor alone",
          where="https://arxiv.org/abs/1711.05101: algorithm 2"),
    _rule("decay-of-adam-coupled", "the decay is added to the gradient (L2), not taken from the "
          "weight", "p -= lr λ p", "g + λ p", _coupled_own, ("adamw",),
          by="torch.optim.Adam's weight_decay", where="torch.optim.Adam, torch.optim.AdamW"),
    _rule("decay-of-biases", "biases decay too", "weights", "all that is trained", _biases_too,
          ("decay",), by="torch: every parameter of the group; Keras: every variable; Optax: mask",
          where="optax.adamw: mask; keras.optimizers: exclude_from_weight_decay"),
    _rule("other-decay", "the decay's λ is {0}", "λ as declared", "another λ", _other_decay,
          ("decay", "adamw"), (0.01,),
          by="0.01 torch's AdamW, 1e-4 Optax's, 0.004 Keras'",
          where="torch.optim.AdamW, optax.adamw, keras.optimizers.AdamW",
          own=lambda o: o.numbers["decay"]),
    _rule("l1", "λ sign(p) is added to the gradient, with λ = {0}", "g", "g + λ sign(p)",
          lambda at, decay: _own(at._replace(g=at.g + decay * np.sign(at.p))), starts=(0.01,),
          by="keras.regularizers.L1", where="keras.regularizers.L1: l1 * reduce_sum(abs(x))"),
    Hypothesis("running-swapped", UPDATE, "running tensors keep what they should take in, and the "
               "reverse", "m old + (1 - m) new", "(1 - m) old + m new",
               partial(_kept, lambda m, _: 1 - m, ()),
               by="momentum is the new one's weight in torch (0.1), the old one's in Keras and "
               "Flax (0.99)",
               where="torch.nn.BatchNorm1d: momentum; keras.layers.BatchNormalization: momentum"),
    Hypothesis("running-not-updated", UPDATE, "running tensors stay as they were",
               "m old + (1 - m) new", "old", partial(_kept, lambda m, _: 1.0, ()),  # noqa: ARG005
               by="Flax where batch_stats are not kept (mutable)",
               where="flax.linen.BatchNorm: use_running_average"),
    Hypothesis("running-weight", UPDATE, "running tensors keep {0} of what they were",
               "m as declared", "another m", partial(_kept, lambda _, t: t, (0.5, 0.99)),
               by="0.9 torch (momentum 0.1), 0.99 Keras and Flax",
               where="torch.nn.BatchNorm1d, keras.layers.BatchNormalization, flax.linen.BatchNorm"),
    Hypothesis("running-over-n", UPDATE, "the running variance is over n, not over n - 1",
               "variance n / (n - 1)", "variance", _over_n,
               by="Keras and Flax; torch over n - 1",
               where='torch.nn.BatchNorm1d: "the unbiased estimator"'),
)  # fmt: skip
