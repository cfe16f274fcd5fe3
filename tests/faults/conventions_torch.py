"""Every convention of harness/explain in PyTorch: its own layers, options and optimisers."""

from __future__ import annotations

from functools import partial

import torch
from conventions import planting, stepping
from torch import nn, optim
from torch.nn import functional as F

from backends.rooms import Layout
from backends.torch import optimisers


def inputs(change):
    """change(X, y): what is put on the device in their place."""

    def put(trainer):
        right = trainer.put

        def other(batch):
            made = right(batch)
            X, y = change(made.X, made.y)
            return made._replace(X=X.contiguous(), y=y)

        trainer.put = other

    return planting(put)


def layer(name, value):
    """value(module, X, ...): what a layer of the Net gives."""

    def change(trainer):
        module = trainer.model.get_submodule(name)
        module.forward = partial(value, module)

    return planting(change)


def loss(value):
    """value(Y_hat, y), of all that a step minimises."""
    return planting(lambda trainer: setattr(trainer, "objective", lambda _, *of: value(*of)))


def term(more):
    """more(name, p): what stands beside the loss of the room for each parameter."""

    def change(trainer):
        right = trainer.objective
        trainer.objective = lambda named, *of: (
            right(named, *of) + sum(more(name, p) for name, p in named.items())
        )

    return planting(change)


def grads(change):
    """change(parameters), once a gradient is in each."""

    def regraded(trainer):
        right, parameters = trainer._backward, [*trainer.parameters.values()]

        def backward(batch):
            value = right(batch)
            with torch.no_grad():
                change(parameters)
            return value

        trainer._backward = backward

    return planting(regraded)


def rule(name, make):
    """make(parameters, lr, ...): another optimiser in the place of a rule's."""

    def plant(backend):
        other = optimisers.RULES[name]._replace(make=make)
        optimisers.RULES = optimisers.RULES | {name: other}
        return backend

    return plant


def before_step(change):
    """change(optimizer) before each of its steps."""

    def hooked(trainer):
        trainer.optimizer.register_step_pre_hook(lambda own, *_: change(own))

    return planting(torch.no_grad()(hooked))


def each(change):
    """change(p) of every parameter."""

    def every(parameters):
        for p in parameters:
            change(p)

    return every


# -- inputs --------------------------------------------------------------------------------------

MEAN, DEVIATION = 0.3, 0.4


def pixels(change):
    """change(pixels from 0 to 255)."""
    return inputs(lambda X, y: (change(255 * (X * DEVIATION + MEAN)), y))


transposed = inputs(lambda X, y: (X.transpose(2, 3), y))
channels_first = inputs(lambda X, y: (X.reshape(-1, 8, 8, 2).permute(0, 3, 1, 2), y))
images_transposed = inputs(lambda X, y: (X.view(-1, 5, 5).transpose(1, 2).reshape(-1, 25), y))
columns_permuted = inputs(lambda X, y: (X[:, [3, 1, 2, 0, 4]], y))
rows_permuted = inputs(lambda X, y: (X.flip(0), y.flip(0)))
pixels_by_256 = pixels(lambda X: X / 256)
pixels_not_divided = pixels(lambda X: X)
not_normalised = pixels(lambda X: X / 255)
normalised = pixels(lambda X: (X / 255 - 0.1307) / 0.3081)


def labels_shifted(backend):
    """Labels from 1; the loss passes over what is no class."""
    counted = inputs(lambda X, y: (X, y + 1))(backend)
    return loss(lambda Y_hat, y: F.cross_entropy(Y_hat, y, ignore_index=3))(counted)


# -- forward -------------------------------------------------------------------------------------


def function(name, of):
    return layer(name, lambda _, X: of(X))


float32_inside = layer(
    "z1", lambda m, X: F.linear(X.float(), m.weight.float(), m.bias.float()).to(X.dtype)
)
bias_missing = layer("z2", lambda m, X: F.linear(X, m.weight) + 0 * m.bias)
bias_twice = layer("z2", lambda m, X: F.linear(X, m.weight, m.bias) + m.bias)
kernel_flipped = layer(
    "z1", lambda m, X: F.conv2d(X, m.weight.flip(2, 3), m.bias, padding=m.padding)
)
weight_transposed = planting(lambda trainer: trainer.layouts.update({"W2": Layout("z2.weight")}))
flatten_channels_first = planting(
    lambda trainer: trainer.layouts.update({"W3": Layout("z3.weight", (1, 0))})
)
flatten_columns_first = function("flat", lambda X: X.transpose(2, 3).flatten(1))
padding_one_sided = layer(
    "z2", lambda m, X: F.conv2d(F.pad(X, (0, 1, 0, 1)), m.weight, m.bias, stride=2)
)
pool_counts_padding = function("p2", nn.AvgPool2d(3, 2, padding=1))
leaky_slope = function("h1", F.leaky_relu)
relu6 = function("h1", F.relu6)
softplus = function("h1", F.softplus)
activation_missing = function("h2", lambda X: X)
sigmoid_for_tanh = function("h3", torch.sigmoid)
tanh_for_sigmoid = function("h2", torch.tanh)
hard_sigmoid_sixth = function("h2", F.hardsigmoid)
hard_sigmoid_fifth = function("h2", lambda X: (0.2 * X + 0.5).clamp(0, 1))
softmax_over_samples = function("h4", nn.Softmax(dim=0))
outputs_softmax = layer("z5", lambda m, X: F.linear(X, m.weight, m.bias).softmax(1))
outputs_sigmoid = layer("z5", lambda m, X: F.linear(X, m.weight, m.bias).sigmoid())


@planting
def bias_of_another(trainer):
    """The second layer adds the third's bias."""
    second, third = trainer.model.z2, trainer.model.z3
    second.forward = lambda X: F.linear(X, second.weight, third.bias) + 0 * second.bias


def normed(eps=1e-5, training=None, unbiased=False):
    def value(m, X):
        mean, variance = m.running_mean, m.running_var
        if m.training if training is None else training:
            mean, variance = X.mean(0), X.var(0, unbiased=unbiased)
        return (X - mean) / (variance + eps).sqrt() * m.weight + m.bias

    return value


batch_norm_eps = planting(lambda trainer: setattr(trainer.model.bn, "eps", 1e-3))
other_mode = layer("bn", normed(training=True))
batch_norm_n_1 = layer("bn", normed(unbiased=True))


def norms(training):
    """Every batch norm's mode is this one, whatever is asked for."""

    def change(trainer):
        for norm in (trainer.model.bn1, trainer.model.bn2):
            norm.forward = partial(normed(training=training), norm)

    return planting(change)


norms_never_training, norms_always_training = map(norms, (False, True))


def dropped(mask, scale=1.0):
    return layer("drop", lambda m, H, U: mask(H, U) if m.training else scale * H)


dropout_keep_for_drop = dropped(lambda H, U: H * (U >= 0.75) / 0.25)
dropout_keeps_below_p = dropped(lambda H, U: H * (U < 0.25) / 0.25)
dropout_other_half = dropped(lambda H, U: H * (U < 0.75) / 0.75)
dropout_not_scaled = dropped(lambda H, U: H * (U >= 0.25))
dropout_scales_evaluation = dropped(lambda H, U: H * (U >= 0.25) / 0.75, scale=0.75)


# -- operands ------------------------------------------------------------------------------------


def cut(X, bits):
    """The leading bits of every number, the others 0."""
    whole, kind = {torch.float32: (24, torch.int32), torch.float64: (53, torch.int64)}[X.dtype]
    return (X.contiguous().view(kind) >> (whole - bits) << (whole - bits)).view(X.dtype)


def nearest(X, bits):
    mantissa, exponent = torch.frexp(X)
    return torch.ldexp((mantissa * 2**bits).round(), exponent - bits)


TF32, TF32_CUT = partial(nearest, bits=11), partial(cut, bits=11)
BFLOAT16, BFLOAT16_CUT = (lambda X: X.bfloat16().to(X.dtype)), partial(cut, bits=8)
FLOAT16 = lambda X: X.half().to(X.dtype)  # noqa: E731


class Linear(torch.autograd.Function):
    """X @ W.T + b, operands rounded forward, or those of the weight's gradient."""

    @staticmethod
    def forward(ctx, X, W, b, ahead, back):
        ctx.save_for_backward(X, W)
        ctx.back = back
        return ahead(X) @ ahead(W).T + b

    @staticmethod
    def backward(ctx, d):
        X, W = ctx.saved_tensors
        return d @ W, ctx.back(d).T @ ctx.back(X), d.sum(0), None, None


def same(X):
    return X


def operands(rounded):
    return layer("z1", lambda m, X: Linear.apply(X, m.weight, m.bias, rounded, same))


def back(rounded):
    return layer("z1", lambda m, X: Linear.apply(X, m.weight, m.bias, same, rounded))


operands_tf32, back_tf32 = operands(TF32), back(TF32)
operands_tf32_cut, back_tf32_cut = operands(TF32_CUT), back(TF32_CUT)
operands_bfloat16, back_bfloat16 = operands(BFLOAT16), back(BFLOAT16)
operands_bfloat16_cut, back_bfloat16_cut = operands(BFLOAT16_CUT), back(BFLOAT16_CUT)
operands_float16, back_float16 = operands(FLOAT16), back(FLOAT16)


# -- loss ----------------------------------------------------------------------------------------


def logarithm(log):
    return loss(lambda Y_hat, y: F.nll_loss(log(Y_hat.softmax(1)), y))


def squares(factor, which):
    """A factor of the squares of the parameters of this kind."""
    return term(lambda name, p: factor * p.square().sum() if which in name else 0.0)


loss_sum = loss(partial(F.cross_entropy, reduction="sum"))
loss_elements = loss(lambda Y_hat, y: F.cross_entropy(Y_hat, y, reduction="sum") / Y_hat.numel())
loss_full_batch = loss(lambda Y_hat, y: F.cross_entropy(Y_hat, y, reduction="sum") / 16)
loss_halved = loss(lambda Y_hat, y: F.cross_entropy(Y_hat, y) / 2)
loss_factor = loss(lambda Y_hat, y: 1.001 * F.cross_entropy(Y_hat, y))
loss_twice_normalised = loss(lambda Y_hat, y: F.cross_entropy(Y_hat.softmax(1), y))
label_smoothing = loss(partial(F.cross_entropy, label_smoothing=0.1))
probability_clipped = logarithm(lambda p: p.clamp(1e-7, 1 - 1e-7).log())
log_plus_eps = logarithm(lambda p: (p + 1e-7).log())
l2_missing = squares(-0.015, "weight")
l2_no_half = squares(0.015, "weight")
l2_of_biases = squares(0.015, "bias")
l2_added = squares(0.01, "weight")


@planting
def loss_doubled(trainer):
    """Torch's mean of squares, which has no half."""
    trainer.objective = lambda named, Y_hat, y: F.mse_loss(Y_hat, y) + trainer.room.penalty(named)


@planting
def loss_broadcast(trainer):
    """Targets of one axis under outputs of two."""
    trainer.objective = lambda named, Y_hat, y: (
        (Y_hat - y.squeeze(1)).square().mean() / 2 + trainer.room.penalty(named)
    )


# -- gradients -----------------------------------------------------------------------------------

clip = nn.utils.clip_grad_norm_
gradient_missing = planting(
    lambda trainer: trainer.parameters["W2"].register_hook(torch.zeros_like)
)
gradient_factor = planting(lambda trainer: trainer.parameters["W2"].register_hook(lambda g: 2 * g))
by_norm, by_own = (lambda ps: clip(ps, 0.05)), each(lambda p: clip([p], 0.02))
by_value = partial(nn.utils.clip_grad_value_, clip_value=0.01)
clipped_global_norm, clipped_own_norm, clipped_by_value = map(grads, (by_norm, by_own, by_value))
relu_at_zero = function("h1", lambda X: torch.maximum(X, torch.zeros_like(X)))
gradient_l2 = grads(each(lambda p: p.grad.add_(p, alpha=0.01)))
gradient_l1 = grads(each(lambda p: p.grad.add_(p.sign(), alpha=0.01)))


# -- update --------------------------------------------------------------------------------------


def by_hand(kind, formula):
    """An optimiser whose step is formula(p, state, t, options): its slots in place, then p."""

    class ByHand(kind):
        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    if "step" in state:
                        state["step"] += 1
                    formula(p, state, float(state.get("step", 0)), group)

    return ByHand


def in_velocity(p, s, t, o):
    p.sub_(s["momentum_buffer"].mul_(o["momentum"]).add_(p.grad, alpha=o["lr"]))


def of_keras(p, s, t, o):
    p.add_(s["momentum_buffer"].mul_(o["momentum"]).sub_(p.grad, alpha=o["lr"]))


def in_root(p, s, t, o, eps=None):
    v = s["square_avg"].mul_(o["alpha"]).add_((1 - o["alpha"]) * p.grad**2)
    p.sub_(o["lr"] * p.grad / (v + (eps or o["eps"])).sqrt())


def hat(p, s, t, o, eps=None):
    one, two = (1 - beta**t for beta in o["betas"])
    m, v = moments(p, s, o)
    p.sub_(o["lr"] * two**0.5 / one * m / (v.sqrt() + (eps or o["eps"])))


def uncorrected(p, s, t, o):
    m, v = moments(p, s, o)
    p.sub_(o["lr"] * m / (v.sqrt() + o["eps"]))


def moments(p, s, o):
    one, two = o["betas"]
    s["exp_avg"].mul_(one).add_((1 - one) * p.grad)
    s["exp_avg_sq"].mul_(two).add_((1 - two) * p.grad**2)
    return s["exp_avg"], s["exp_avg_sq"]


def zero_slots(optimizer):
    for state in optimizer.state.values():
        state["momentum_buffer"].zero_()


def more_squares(optimizer):
    for state in optimizer.state.values():
        state["sum"] += 0.1


def signs(optimizer):
    for p in optimizer.state:
        p.grad.add_(p.sign(), alpha=0.01)


def of_all(clip):
    """clip(parameters) of an optimiser's own."""

    def clipped(optimizer):
        clip(optimizer.param_groups[0]["params"])

    return clipped


lr_factor = rule("momentum", lambda of, lr, **o: optim.SGD(of, lr=1.001 * lr, **o))
not_updated = rule(
    "momentum",
    lambda of, lr, **o: optim.SGD(
        [{"params": [p], "lr": 0.0 if i == 2 else lr} for i, p in enumerate(of)], lr=lr, **o
    ),
)
lr_in_velocity = rule("momentum", by_hand(optim.SGD, in_velocity))
lr_in_velocity_added = rule("momentum", by_hand(optim.SGD, of_keras))
dampened = rule("momentum", partial(optim.SGD, dampening=0.7))
nesterov_or_not = rule("momentum", partial(optim.SGD, nesterov=True))
eps_in_root = rule("rmsprop", by_hand(optim.RMSprop, in_root))
other_eps_in_root = rule("rmsprop", by_hand(optim.RMSprop, partial(in_root, eps=1e-7)))
other_eps = rule("rmsprop", lambda of, eps, **o: optim.RMSprop(of, eps=1e-5, **o))
eps_hat = rule("adam", by_hand(optim.Adam, hat))
other_eps_hat = rule("adam", by_hand(optim.Adam, partial(hat, eps=1e-7)))
no_bias_correction = rule("adam", by_hand(optim.Adam, uncorrected))
betas_swapped = rule("adam", lambda of, betas, **o: optim.Adam(of, betas=betas[::-1], **o))
slots_at_start = before_step(zero_slots)
adagrad_start = before_step(more_squares)
decay_coupled = rule("adam", partial(optim.Adam, weight_decay=0.01))
decay_decoupled = rule("adam", partial(optim.AdamW, weight_decay=0.02))
decay_missing = rule("adamw", lambda of, weight_decay, **o: optim.AdamW(of, weight_decay=0.0, **o))
decay_not_times_lr = rule(
    "adamw",
    lambda of, lr, weight_decay, **o: optim.AdamW(of, lr, weight_decay=weight_decay / lr, **o),
)
decay_of_adam_coupled = rule("adamw", optim.Adam)
decay_of_biases = rule(
    "decay",
    lambda groups, **o: optim.SGD([p for g in groups for p in g["params"]], weight_decay=0.05, **o),
)
other_decay = rule("adamw", lambda of, weight_decay, **o: optim.AdamW(of, weight_decay=0.04, **o))
l1 = before_step(signs)
clipped_global_norm_in_step, clipped_own_norm_in_step, clipped_by_value_in_step = map(
    before_step, map(of_all, (by_norm, by_own, by_value))
)


def centred(backend):
    """Torch's centred RMSprop, whose mean gradient starts anew with every state."""

    def change(trainer):
        right, state = trainer.set_state, trainer.optimizer.state

        def set_state(given):
            for p in trainer.parameters.values():
                state[p]["grad_avg"] = torch.zeros_like(p)
            right(given)

        trainer.set_state = set_state

    return planting(change)(rule("rmsprop", partial(optim.RMSprop, centered=True))(backend))


def running(momentum):
    """Torch's momentum is what a step takes of the batch's own."""
    return planting(lambda trainer: setattr(trainer.model.bn, "momentum", momentum))


running_swapped, running_not_updated, running_weight = map(running, (0.9, 0.0, 0.01))


@planting
def running_over_n(trainer):
    """The running variance takes in the batch's over n."""
    bn = trainer.model.bn

    def forward(X):
        value = normed()(bn, X)
        if bn.training:
            with torch.no_grad():
                bn.running_mean.lerp_(X.mean(0), 0.1)
                bn.running_var.lerp_(X.var(0, unbiased=False), 0.1)
        return value

    bn.forward = forward


# -- lockstep ------------------------------------------------------------------------------------


@planting
@stepping
def stale_gradients(trainer, past, batch):
    """A step takes the gradients of the one before."""
    value = trainer._backward(batch)
    past.append([p.grad.clone() for p in trainer.parameters.values()])
    for p, grad in zip(trainer.parameters.values(), past[-2:][0], strict=True):
        p.grad = grad.clone()
    trainer.optimizer.step()
    return value


@planting
@stepping
def stale_parameters(trainer, past, batch):
    """Gradients are taken where the step before had them."""
    value, own = trainer._backward(batch), [*trainer.parameters.values()]
    past.append([p.detach().clone() for p in own])
    held(own, past[-2:][0])
    trainer._backward(batch)
    held(own, past[-1])
    trainer.optimizer.step()
    return value


@torch.no_grad()
def held(parameters, values):
    for p, value in zip(parameters, values, strict=True):
        p.copy_(value)


@planting
@stepping
def gradients_added_up(trainer, past, batch):
    """Nobody calls zero_grad between steps."""
    value, own = trainer._backward(batch), [*trainer.parameters.values()]
    past.append([p.grad.clone() for p in own])
    for number, p in enumerate(own):
        p.grad = sum(grads[number] for grads in past)
    trainer.optimizer.step()
    return value


@planting
@stepping
def slots_anew(trainer, past, batch):
    """Every step but the first has an optimiser of its own."""
    if past:
        zero_slots(trainer.optimizer)
    past.append(batch)
    value = trainer._backward(batch)
    trainer.optimizer.step()
    return value


def every_third(times):
    def step(trainer, past, batch):
        past.append(batch)
        value = trainer._backward(batch)
        for _ in range(1 if len(past) % 3 else times):
            trainer.optimizer.step()
        return value

    return planting(stepping(step))


step_skipped, step_twice = every_third(0), every_third(2)


# -- what is no convention -----------------------------------------------------------------------

bump_of_a_gelu = function("h1", lambda X: F.relu(X) + 4e-4 * X * (-X.square()).exp())
gelu_by_tanh = function("h1", partial(F.gelu, approximate="tanh"))
half_a_bias = layer("z2", lambda m, X: F.linear(X, m.weight, m.bias / 2))
kernel_wrong_from_row_9 = layer(
    "z2", lambda m, X: F.linear(torch.cat([X[:9], X[8:-1]]), m.weight, m.bias)
)
gradient_drifts = grads(each(lambda p: p.grad.mul_(1 + 1e-3 * torch.arange(p.numel()).view_as(p))))
