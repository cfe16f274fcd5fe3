"""Wrong numbers that any workload can have: each wraps a backend's trainer, whatever its model.

`FAULTS` says of each at which rung it must be found, and at which value on the way or tensor; of a
workload that cannot have it, None. A fault of the model has the net's own pieces, changed, compute
in place of the trainer, in its dtype; `as_it_is` is its clean twin.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
from callers import Regraded, Stepping, Wrapped, like, wrap
from normed import NORMED

from harness import workloads
from harness.data.made import MADE
from harness.interface import Workload
from harness.workloads.reference.composed import Composed, Net
from harness.workloads.reference.losses import HalfSquaredSum, SigmoidCrossEntropy
from harness.workloads.reference.noise import with_fewer_bits
from harness.workloads.reference.optimisers import RULES, stepped
from harness.workloads.reference.pieces import BatchNorm, Dropout, Polynomial, Relu, Sigmoid, Tanh

NETS = workloads.NETS | {NORMED.workload.name: NORMED.net}
# Where a workload has a fault: a value on the way or a tensor; None where it cannot have it.
Where = Callable[[Workload, Net], str | None]


class Fault(NamedTuple):
    """The rung that must fail first, and where."""

    rung: str
    where: Where


FAULTS: dict[str, Fault] = {}


def _fault(rung, where):
    """Enter a function into the table."""

    def entered(function):
        FAULTS[function.__name__] = Fault(rung, where)
        return function

    return entered


# -- where ---------------------------------------------------------------------------------------


def _weight(workload, net):
    """The first weight."""
    return next(iter(net.weights()), None)


def _biases(net):
    """The biases, in the order of the layers."""
    slots = (slot for layer in net.layers for slot in layer.slots("", ""))
    return [slot.tensor.name for slot in slots if slot.kind == "bias"]


def _bias(workload, net):
    """The last bias."""
    return next(iter(_biases(net)[::-1]), None)


def _value_of(kind):
    """The value of the first layer of this kind."""

    def where(workload, net):
        named = zip(net.layers, net.names(), strict=True)
        return next((name for layer, name in named if isinstance(layer, kind)), None)

    return where


def _value_far_out(workload, net):
    """The value of the first ReLU; none is asked for far out where outputs may be undefined."""
    return None if net.can_fail else _value_of(Relu)(workload, net)


def _value_of_matrix(workload, net):
    """The value of the layer that has the first weight; a row or a column cannot be transposed."""
    first = _weight(workload, net)
    for layer, name in zip(net.layers, net.names(), strict=True):
        for slot in layer.slots("", ""):
            if slot.tensor.name == first:
                return name if sum(length > 1 for length in slot.tensor.shape) > 1 else None
    return None


def _value_of_product(workload, net):
    """The value of the last layer that has a product."""
    return net.names()[_last_product(net)[0]] if net.products(1) else None


def _weight_of_product(workload, net):
    """The first weight, where there is a product."""
    return _weight(workload, net) if net.products(1) else None


def _weight_before(kind):
    """The weight nearest before the first layer of this kind."""

    def where(workload, net):
        nearest = None
        for layer in net.layers:
            if isinstance(layer, kind):
                return nearest
            nearest = next((slot.tensor.name for slot in layer.slots("", "")), nearest)
        return None

    return where


def _weight_at_cross_entropy(workload, net):
    """The last weight, where the loss is a sigmoid's cross-entropy."""
    return net.weights()[-1] if isinstance(net.loss, SigmoidCrossEntropy) else None


def _loss_of_many(workload, net):
    return "loss" if workload.batch_size != 1 else None


def _made_inputs(workload, net):
    """The inputs, where they are made and depend on the seed."""
    made = MADE.get(workload.data)
    return "x" if made and (made.step(0, 0)[0] != made.step(1, 0)[0]).any() else None


def _outputs_of_two_modes(workload, net):
    return workload.trace[-1] if workload.two_modes else None


def _slot(*rules):
    """The last slot of the first weight, where the optimiser is one of these rules."""

    def where(workload, net):
        if workload.optimiser.rule not in rules:
            return None
        return f"{_weight(workload, net)}/{RULES[workload.optimiser.rule].slots[-1]}"

    return where


def _weight_by(*rules):
    """The first weight, where the optimiser is one of these rules."""
    return lambda workload, net: (
        _weight(workload, net) if workload.optimiser.rule in rules else None
    )


def _decaying_bias(workload, net):
    """The first bias, where weights decay and biases do not."""
    return next(iter(_biases(net)), None) if workload.optimiser.rule == "decay" else None


def _running_variance(workload, net):
    """The running variance of the first batch norm."""
    return next((layer.variance for layer in net.layers if isinstance(layer, BatchNorm)), None)


def _running(workload, net):
    """The first running tensor."""
    return next((t.name for t in workload.tensors if t.role == "running"), None)


# -- data ----------------------------------------------------------------------------------------


@_fault("inputs", _made_inputs)
def made_of_another_seed(backend):
    """What is put on the device was made for the seed 1, not 0."""

    class Made(Wrapped):
        def put(self, batch):
            made = zip(("x", "y"), MADE[self.workload.data].step(1, 0), strict=True)
            return self.trainer.put(
                batch | {n: np.resize(v, batch[n].shape).astype(batch[n].dtype) for n, v in made}
            )

    return wrap(backend, Made)


# -- gradients and updates -----------------------------------------------------------------------


def _change_gradient(backend, where, factor):
    """The gradient of the tensor that `where` names is so many times itself."""

    class Changed(Regraded):
        def regrade(self, grads, state, batch):
            name = where(self.workload, NETS[self.workload.name])
            return {name: factor * grads[name]}

    return wrap(backend, Changed)


@_fault("gradients", _bias)
def bias_gradient_dropped(backend):
    """The gradient of the last bias is 0."""
    return _change_gradient(backend, _bias, 0)


@_fault("gradients", _weight)
def gradient_one_per_mille(backend):
    """The gradient of the first weight is off by 1e-3 of itself."""
    return _change_gradient(backend, _weight, 1 + 1e-3)


@_fault("update", _weight)
def lr_one_per_mille(backend):
    """The learning rate is off by 1e-3 of itself."""
    original = backend.trainer

    def trainer(workload):
        right = workload.optimiser
        faster = msgspec.structs.replace(right, lr=right.lr * (1 + 1e-3))
        return original(msgspec.structs.replace(workload, optimiser=faster))

    backend.trainer = trainer
    return backend


def _change_step(backend, change):
    """A step leaves the tensors that `change(workload, before, after, grads)` names so."""

    class Changed(Stepping):
        def do(self, batch):
            before, (_, grads) = self.trainer.get_state(), self.trainer.loss_and_grads(batch)
            loss = self.do_right(batch)
            after = self.trainer.get_state()
            new = change(self.workload, before, after, grads)
            self.trainer.set_state(after | like(new, after))
            return loss

    return wrap(backend, Changed)


@_fault("update", _slot("momentum", "nesterov", "rmsprop", "adam", "adamw"))
def slot_not_decayed(backend):
    """A slot of the optimiser adds up: nothing of what it was is taken off."""
    decays = {"velocity": ("momentum",), "v": ("rho", "beta2")}

    def change(workload, before, after, grads):
        numbers, slot = workload.optimiser.numbers, RULES[workload.optimiser.rule].slots[-1]
        (decay,) = (numbers[name] for name in decays[slot] if name in numbers)
        names = [f"{name}/{slot}" for name in grads]
        return {name: after[name] + (1 - decay) * before[name] for name in names}

    return _change_step(backend, change)


@_fault("update", _weight_by("momentum", "nesterov", "rmsprop", "adagrad", "adam", "adamw"))
def slots_reset(backend):
    """The optimiser starts anew with every state that is set, and tells what it was given."""

    class Reset(Stepping):
        def set_state(self, state):
            own = {t.name for t in self.workload.tensors if t.role == "optimiser"}
            self.given = {name: value.copy() for name, value in state.items()}
            super().set_state({n: 0 * v if n in own else v for n, v in state.items()})

        def get_state(self):
            if self.done:
                return self.trainer.get_state()
            return {name: value.copy() for name, value in self.given.items()}

        def do(self, batch):
            return self.do_right(batch)

    return wrap(backend, Reset)


def _adams(workload, before, after, name, top, root):
    """A tensor after a step that divides `top` by `root`, with the decay of adamw."""
    o = workload.optimiser
    return before[name] - o.lr * (top / root + o.numbers.get("decay", 0.0) * before[name])


@_fault("update", _weight_by("adam", "adamw"))
def bias_correction_missing(backend):
    """Adam's moments are not corrected for their start at 0."""

    def change(workload, before, after, grads):
        eps = workload.optimiser.numbers["eps"]
        return {
            n: _adams(workload, before, after, n, after[f"{n}/m"], np.sqrt(after[f"{n}/v"]) + eps)
            for n in grads
        }

    return _change_step(backend, change)


@_fault("update", _weight_by("rmsprop", "adagrad", "adam", "adamw"))
def eps_inside_the_root(backend):
    """The optimiser divides by sqrt(v + eps), not by sqrt(v) + eps."""

    def change(workload, before, after, grads):
        numbers, new = workload.optimiser.numbers, {}
        t = float(after["step"]) if "step" in after else 0.0
        one, two = (1 - numbers[b] ** t if t else 1.0 for b in ("beta1", "beta2"))
        for n in grads:
            top = after[f"{n}/m"] / one if f"{n}/m" in after else grads[n]
            root = np.sqrt(after[f"{n}/v"] / two + numbers["eps"])
            new[n] = _adams(workload, before, after, n, top, root)
        return new

    return _change_step(backend, change)


@_fault("update", _bias)
def l2_on_a_bias(backend):
    """The last bias decays by a hundredth of itself, times the learning rate."""

    def change(workload, before, after, grads):
        name = _bias(workload, NETS[workload.name])
        return {name: after[name] - workload.optimiser.lr * 1e-2 * before[name]}

    return _change_step(backend, change)


@_fault("update", _weight_by("decay"))
def decay_missing(backend):
    """Weights do not decay."""

    def change(workload, before, after, grads):
        weights = NETS[workload.name].weights()
        return {n: before[n] - workload.optimiser.lr * grads[n] for n in weights}

    return _change_step(backend, change)


@_fault("update", _decaying_bias)
def decay_of_biases_too(backend):
    """Biases decay as weights do."""

    def change(workload, before, after, grads):
        o = workload.optimiser
        names = _biases(NETS[workload.name])
        return {n: before[n] - o.lr * (grads[n] + o.numbers["decay"] * before[n]) for n in names}

    return _change_step(backend, change)


@_fault("update", _running)
def running_one_step_late(backend):
    """Running tensors have what the step before made of them."""

    def change(workload, before, after, grads):
        return {t.name: before[t.name] for t in workload.tensors if t.role == "running"}

    return _change_step(backend, change)


# -- modes and layouts ---------------------------------------------------------------------------


@_fault("forward", _outputs_of_two_modes)
def evaluation_in_training_mode(backend):
    """Outputs in evaluation are those of training."""

    class Training(Wrapped):
        def outputs(self, batch, *, training):
            return self.trainer.outputs(batch, training=True)

    return wrap(backend, Training)


@_fault("forward", _value_of_matrix)
def layout_transposed(backend):
    """The first weight lies transposed, on its way in and out: what is held reads back right."""

    class Transposed(Wrapped):
        def turned(self, tensors, back):
            first = _weight(self.workload, NETS[self.workload.name])
            ours = [name for name in tensors if name.partition("/")[0] == first]
            return tensors | {name: _turned(tensors[name], back) for name in ours}

        def set_state(self, state):
            self.trainer.set_state(self.turned(state, back=False))

        def get_state(self):
            return self.turned(self.trainer.get_state(), back=True)

        def loss_and_grads(self, batch):
            loss, grads = self.trainer.loss_and_grads(batch)
            return loss, self.turned(grads, back=True)

    return wrap(backend, Transposed)


def _turned(value, back):
    """A kernel's rows and columns exchanged; a matrix read column by column, or put back so."""
    if value.ndim > 2:
        return np.ascontiguousarray(value.swapaxes(0, 1))
    return value.reshape(value.T.shape).T.copy() if back else value.T.reshape(value.shape)


# -- the model -----------------------------------------------------------------------------------


class Recomputed(Stepping):
    """The judge's pieces, in the trainer's dtype, compute all that the trainer would."""

    judge: Composed

    def seen(self, batch):
        return self.trainer.get_state(), self.trainer.fetch(batch)

    def outputs(self, batch, *, training):
        state, held = self.seen(batch)
        return self.judge.look(state, held).outputs if training else self.judge.outputs(state, held)

    def trace(self, batch):
        return self.judge.trace(*self.seen(batch))

    def loss_and_grads(self, batch):
        state, held = self.seen(batch)
        look = self.judge.look(state, held)
        return look.loss, like(look.grads, state)

    def do(self, batch):
        state, held = self.seen(batch)
        look = self.judge.look(state, held)
        new = stepped(self.workload.optimiser, state | look.running, look.grads)
        self.trainer.set_state(like(new, state))
        return look.loss


def _recomputed(backend, judge_of):
    """`judge_of(net)` computes in place of the trainers."""

    def kind(trainer):
        made = Recomputed(trainer)
        made.judge = judge_of(NETS[trainer.workload.name])
        return made

    return wrap(backend, kind)


def as_it_is(backend):
    """No fault: the judge's pieces, in the trainer's dtype."""
    return _recomputed(backend, Composed)


def _other_layer(backend, kind, other):
    """In place of the first layer of this kind stands `other(layer)`."""

    def judge_of(net):
        layers = [*net.layers]
        place = next(i for i, layer in enumerate(layers) if isinstance(layer, kind))
        layers[place] = other(layers[place])
        return Composed(msgspec.structs.replace(net, layers=tuple(layers)))

    return _recomputed(backend, judge_of)


def _other_loss(backend, change):
    """In place of the net's loss and its gradient stands `change(net.loss, outputs, y)`."""
    return _recomputed(backend, lambda net: Composed(net, partial(change, net.loss)))


class CutOff(Relu, frozen=True):
    """min(max(z, 0), 6)."""

    def run(self, x, at, keep):
        return np.minimum(super().run(x, at, keep), x.dtype.type(6))

    def back(self, d, at, keep):
        return np.where(keep["z"] >= 6, d.dtype.type(0), super().back(d, at, keep))


class Leaky(Relu, frozen=True):
    """Z, a thousandth of it below 0."""

    def run(self, x, at, keep):
        keep["z"] = x
        return np.where(x > 0, x, x.dtype.type(1e-3) * x)

    def back(self, d, at, keep):
        return np.where(keep["z"] > 0, d, d.dtype.type(1e-3) * d)


class Slopeless(Sigmoid, frozen=True):
    """Its derivative is forgotten."""

    def back(self, d, at, keep):
        return d


class Unscaled(Dropout, frozen=True):
    """What is left is not scaled by 1 / (1 - p)."""

    def run(self, x, at, keep):
        super().run(x, at, keep)
        keep["factor"] = np.minimum(keep["factor"], x.dtype.type(1))
        return x * keep["factor"]


@_fault("forward", _value_far_out)
def relu6(backend):
    """The first ReLU is cut off at 6, which made batches exceed where the data do not."""
    return _other_layer(backend, Relu, lambda _: CutOff())


@_fault("forward", _value_of(Relu))
def leaky_relu(backend):
    """The first ReLU has slope 1e-3 below 0."""
    return _other_layer(backend, Relu, lambda _: Leaky())


@_fault("forward", _value_of(Sigmoid))
def tanh_for_sigmoid(backend):
    """The first sigmoid is a tanh."""
    return _other_layer(backend, Sigmoid, lambda _: Tanh())


@_fault("gradients", _weight_before(Sigmoid))
def sigmoid_slope_forgotten(backend):
    """What goes back through the first sigmoid is not multiplied by its slope."""
    return _other_layer(backend, Sigmoid, lambda _: Slopeless())


@_fault("forward", _value_of(Polynomial))
def polynomial_term_off(backend):
    """The last term of the first polynomial's first sum is off by 1e-3 of itself."""

    def other(layer):
        *terms, (factor, exponents) = layer.sums[0]
        first = (*terms, (factor * (1 + 1e-3), exponents))
        return msgspec.structs.replace(layer, sums=(first, *layer.sums[1:]))

    return _other_layer(backend, Polynomial, other)


@_fault("loss", _loss_of_many)
def sum_for_mean(backend):
    """The loss is a sum over the batch, not a mean; where it should be the sum, a mean."""

    def change(right, outputs, y):
        value, d = right(outputs, y)
        factor = 1 / len(outputs) if isinstance(right, HalfSquaredSum) else len(outputs)
        return factor * value, factor * d

    return _other_loss(backend, change)


@_fault("gradients", _weight_at_cross_entropy)
def slope_in_cross_entropy(backend):
    """What goes back from a sigmoid's cross-entropy is multiplied by the sigmoid's slope too."""

    def change(right, outputs, y):
        value, d = right(outputs, y)
        return value, d / (2 + 2 * np.cosh(outputs))

    return _other_loss(backend, change)


class Dropping(Dropout, frozen=True):
    """Kept is what the noise lies below 1 - p for."""

    def run(self, x, at, keep):
        value = super().run(x, at, keep)
        if not at.training:
            return value
        kept = (at.noise[self.name] < 1 - self.p).astype(x.dtype)
        keep["factor"] = kept / x.dtype.type(1 - self.p)
        return x * keep["factor"]


class Biased(BatchNorm, frozen=True):
    """The running variance is of the batch's over n, not over n - 1."""

    def running(self, at, keep):
        unbiased = keep["n"] / (keep["n"] - 1)
        return super().running(at, keep | {"variance": keep["variance"] / unbiased})


@_fault("forward", _value_of(BatchNorm))
def norm_with_larger_eps(backend):
    """The first batch norm adds 1e-3 to the variance, not 1e-5."""
    return _other_layer(backend, BatchNorm, lambda layer: msgspec.structs.replace(layer, eps=1e-3))


@_fault("update", _running)
def running_weight_swapped(backend):
    """Running tensors of the first batch norm keep a tenth and take nine, not the other way."""

    def other(layer):
        return msgspec.structs.replace(layer, momentum=1 - layer.momentum)

    return _other_layer(backend, BatchNorm, other)


@_fault("update", _running_variance)
def running_variance_over_n(backend):
    """The running variance of the first batch norm is over n, not over n - 1."""
    return _other_layer(backend, BatchNorm, lambda layer: Biased(**msgspec.structs.asdict(layer)))


@_fault("forward", _value_of(Dropout))
def keep_for_drop(backend):
    """Dropout keeps where the noise is small, not where it is large."""
    return _other_layer(backend, Dropout, lambda layer: Dropping(layer.name, layer.p))


@_fault("forward", _value_of(Dropout))
def mask_not_scaled(backend):
    """What dropout leaves is not scaled."""
    return _other_layer(backend, Dropout, lambda layer: Unscaled(layer.name, layer.p))


_TF32 = partial(with_fewer_bits, bits=11, nearest=True)


def _last_product(net):
    """The layer and the number of the last product on the way forward."""
    products = [*enumerate(net.products(1))]
    return next((at, n) for n, (at, part) in products[::-1] if part.endswith("forward"))


@_fault("forward", _value_of_product)
def tf32_in_one_product(backend):
    """The operands of the last product on the way forward are rounded to TF32."""
    return _recomputed(backend, lambda net: Composed(net).rounded(_last_product(net)[1], _TF32))


@_fault("gradients", _weight_of_product)
def tf32_in_one_gradient(backend):
    """The operands of the product that is the first weight's gradient are rounded to TF32."""
    return _recomputed(backend, lambda net: Composed(net).rounded(len(net.products(1)) - 1, _TF32))
