"""Every convention of harness/explain in JAX: Flax's layers, Optax's options and more."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import optax
from conventions import planting, stepping
from flax import linen as nn

from backends.jax import optimisers


def inputs(change):
    """change(X, y): what is put on the device in their place."""

    def put(trainer):
        right = trainer.put

        def other(batch):
            made = right(batch)
            X, y = change(made.X, made.y)
            return made._replace(X=X, y=y)

        trainer.put = other

    return planting(put)


def layer(name, value):
    """value(parameters, X, ...): what a layer of the Net gives."""

    def instead(next_, args, kwargs, context):
        if context.module.name != name or context.method_name != "__call__":
            return next_(*args, **kwargs)
        return value(context.module.variables.get("params", {}), *args, **kwargs)

    return intercepted(instead)


def intercepted(instead):
    """Flax asks `instead` at every call of a module."""

    def change(trainer):
        right = trainer._apply

        def apply(*args, **kwargs):
            with nn.intercept_methods(instead):
                return right(*args, **kwargs)

        trainer._apply = apply

    return planting(change)


def loss(value):
    """value(Y_hat, y), of all that a step minimises."""
    return planting(lambda trainer: setattr(trainer, "objective", lambda _, *of: value(*of)))


def term(more):
    """more(name, p): what stands beside the loss of the room for each parameter."""

    def change(trainer):
        right = trainer.objective
        trainer.objective = lambda own, *of: (
            right(own, *of)
            + sum(more(name, p) for held in own.values() for name, p in held.items())
        )

    return planting(change)


def passed(change):
    """change(state, running, grads): what a pass gives for the last two."""

    def other(trainer):
        right = trainer._value_and_grads

        def value_and_grads(state, batch):
            (value, running), grads = right(state, batch)
            running, grads = change(state, running, grads)
            return (value, running), grads

        trainer._value_and_grads = value_and_grads
        trainer._loss_and_grads = jax.jit(value_and_grads)

    return planting(other)


def grads(change):
    """change(grads, state): other gradients, by name."""
    return passed(lambda state, running, own: (running, change(own, state)))


def rule(name, make, **options):
    """make(lr, ...): another transformation in the place of a rule's."""

    def plant(backend):
        other = optimisers.RULES[name]._replace(make=make, **options)
        optimisers.RULES = optimisers.RULES | {name: other}
        return backend

    return plant


def by_tensor(change):
    """change(name, g, p) of every tensor."""
    return optax.stateless(lambda g, p: {n: change(n, g[n], p[n]) for n in g})


# -- inputs --------------------------------------------------------------------------------------

MEAN, DEVIATION = 0.3, 0.4


def pixels(change):
    """change(pixels from 0 to 255)."""
    return inputs(lambda X, y: (change(255 * (X * DEVIATION + MEAN)), y))


transposed = inputs(lambda X, y: (X.swapaxes(1, 2), y))
channels_first = inputs(lambda X, y: (X.transpose(0, 3, 1, 2).reshape(X.shape), y))
images_transposed = inputs(lambda X, y: (X.reshape(-1, 5, 5).swapaxes(1, 2).reshape(-1, 25), y))
columns_permuted = inputs(lambda X, y: (X[:, jnp.array([3, 1, 2, 0, 4])], y))
rows_permuted = inputs(lambda X, y: (X[::-1], y[::-1]))
pixels_by_256 = pixels(lambda X: X / 256)
pixels_not_divided = pixels(lambda X: X)
not_normalised = pixels(lambda X: X / 255)
normalised = pixels(lambda X: (X / 255 - 0.1307) / 0.3081)
labels_shifted = inputs(lambda X, y: (X, y + 1))


# -- forward -------------------------------------------------------------------------------------


def function(name, of):
    return layer(name, lambda _, X: of(X))


def activation(number, of):
    """The activation behind a dense layer."""
    return function(f"h{number}", of)


def dense(p, X):
    return X @ p["kernel"] + p["bias"]


def conv(p, X, stride=1, around=((1, 1), (1, 1))):
    kinds = ("NHWC", "HWIO", "NHWC")
    return (
        jax.lax.conv_general_dilated(
            X, p["kernel"], (stride, stride), around, dimension_numbers=kinds
        )
        + p["bias"]
    )


def in_float32(p, X):
    p = jax.tree.map(lambda a: a.astype(jnp.float32), p)
    return dense(p, X.astype(jnp.float32)).astype(X.dtype)


float32_inside = layer("z1", in_float32)
bias_missing = layer("z2", lambda p, X: X @ p["kernel"])
bias_twice = layer("z2", lambda p, X: dense(p, X) + p["bias"])
weight_transposed = layer("z2", lambda p, X: X @ p["kernel"].T + p["bias"])
kernel_flipped = layer("z1", lambda p, X: conv(p | {"kernel": p["kernel"][::-1, ::-1]}, X))
flatten_channels_first = function("flat", lambda X: X.transpose(0, 3, 1, 2).reshape(len(X), -1))
flatten_columns_first = function("flat", lambda X: X.swapaxes(1, 2).reshape(len(X), -1))
padding_one_sided = layer("z2", partial(conv, stride=2, around="SAME"))
pool_counts_padding = function("p2", lambda X: nn.avg_pool(X, (3, 3), (2, 2), ((1, 1), (1, 1))))
leaky_slope = activation(1, nn.leaky_relu)
relu6 = activation(1, nn.relu6)
softplus = activation(1, nn.softplus)
activation_missing = activation(2, lambda X: X)
sigmoid_for_tanh = activation(3, nn.sigmoid)
tanh_for_sigmoid = activation(2, nn.tanh)
hard_sigmoid_sixth = activation(2, nn.hard_sigmoid)
hard_sigmoid_fifth = activation(2, lambda X: jnp.clip(0.2 * X + 0.5, 0, 1))
softmax_over_samples = activation(4, partial(nn.softmax, axis=0))
outputs_softmax = layer("z5", lambda p, X: nn.softmax(dense(p, X)))
outputs_sigmoid = layer("z5", lambda p, X: nn.sigmoid(dense(p, X)))


@planting
def bias_of_another(trainer):
    """The second layer adds the third's bias."""
    right = trainer._variables

    def variables(state):
        held = right(state)
        held["params"]["z2"]["bias"] = state["b3"]
        return held

    trainer._variables = variables


def normed(eps=1e-5, by_batch=None, unbiased=0, names=("bn",)):
    """Batch norms of these names by other rules; the running tensors are as they were."""

    def instead(next_, args, kwargs, context):
        if context.module.name not in names or context.method_name != "__call__":
            return next_(*args, **kwargs)
        p, held = (context.module.variables[kind] for kind in ("params", "batch_stats"))
        m, v = held["mean"], held["var"]
        next_(*args, **kwargs)
        X, training = args
        if training if by_batch is None else by_batch:
            m, v = X.mean(0), X.var(0, ddof=unbiased)
        return (X - m) / jnp.sqrt(v + eps) * p["gamma"] + p["beta"]

    return intercepted(instead)


batch_norm_eps = normed(eps=1e-3)
other_mode = normed(by_batch=True)
batch_norm_n_1 = normed(unbiased=1)
norms_never_training = normed(by_batch=False, names=("bn1", "bn2"))
norms_always_training = normed(by_batch=True, names=("bn1", "bn2"))


def dropped(mask, scale=1.0):
    return layer("drop", lambda _, H, U, training: mask(H, U) if training else scale * H)


dropout_keep_for_drop = dropped(lambda H, U: H * (U >= 0.75) / 0.25)
dropout_keeps_below_p = dropped(lambda H, U: H * (U < 0.25) / 0.25)
dropout_other_half = dropped(lambda H, U: H * (U < 0.75) / 0.75)
dropout_not_scaled = dropped(lambda H, U: H * (U >= 0.25))
dropout_scales_evaluation = dropped(lambda H, U: H * (U >= 0.25) / 0.75, scale=0.75)


# -- operands ------------------------------------------------------------------------------------


def cut(X, bits):
    """The leading bits of every number, the others 0."""
    whole, kind = (53, jnp.int64) if X.dtype == jnp.float64 else (24, jnp.int32)
    held = jax.lax.bitcast_convert_type(X, kind)
    return jax.lax.bitcast_convert_type(held >> (whole - bits) << (whole - bits), X.dtype)


TF32 = partial(jax.lax.reduce_precision, exponent_bits=8, mantissa_bits=10)
TF32_CUT, BFLOAT16_CUT = partial(cut, bits=11), partial(cut, bits=8)
BFLOAT16 = lambda X: X.astype(jnp.bfloat16).astype(X.dtype)  # noqa: E731
FLOAT16 = lambda X: X.astype(jnp.float16).astype(X.dtype)  # noqa: E731


def product(ahead, back):
    """X @ W, operands rounded forward, or those of the weight's gradient."""

    @jax.custom_vjp
    def times(X, W):
        return ahead(X) @ ahead(W)

    def backward(held, d):
        X, W = held
        return d @ W.T, back(X).T @ back(d)

    times.defvjp(lambda X, W: (times(X, W), (X, W)), backward)
    return layer("z1", lambda p, X: times(X, p["kernel"]) + p["bias"])


def same(X):
    return X


operands_tf32, back_tf32 = product(TF32, same), product(same, TF32)
operands_tf32_cut, back_tf32_cut = product(TF32_CUT, same), product(same, TF32_CUT)
operands_bfloat16, back_bfloat16 = product(BFLOAT16, same), product(same, BFLOAT16)
operands_bfloat16_cut = product(BFLOAT16_CUT, same)
back_bfloat16_cut = product(same, BFLOAT16_CUT)
operands_float16, back_float16 = product(FLOAT16, same), product(same, FLOAT16)


# -- loss ----------------------------------------------------------------------------------------

cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def smoothed(Y_hat, y):
    share = optax.smooth_labels(jax.nn.one_hot(y, Y_hat.shape[1]), 0.1)
    return optax.softmax_cross_entropy(Y_hat, share).mean()


def logarithm(log):
    return loss(lambda Y_hat, y: -log(nn.softmax(Y_hat))[jnp.arange(len(y)), y].mean())


def squares(factor, which):
    """A factor of the squares of the parameters of this kind."""
    return term(lambda name, p: factor * (p**2).sum() if name == which else 0.0)


loss_sum = loss(lambda Y_hat, y: cross_entropy(Y_hat, y).sum())
loss_elements = loss(lambda Y_hat, y: cross_entropy(Y_hat, y).sum() / Y_hat.size)
loss_full_batch = loss(lambda Y_hat, y: cross_entropy(Y_hat, y).sum() / 16)
loss_halved = loss(lambda Y_hat, y: cross_entropy(Y_hat, y).mean() / 2)
loss_factor = loss(lambda Y_hat, y: 1.001 * cross_entropy(Y_hat, y).mean())
loss_twice_normalised = loss(lambda Y_hat, y: cross_entropy(nn.softmax(Y_hat), y).mean())
label_smoothing = loss(smoothed)
probability_clipped = logarithm(lambda p: jnp.log(jnp.clip(p, 1e-7, 1 - 1e-7)))
log_plus_eps = logarithm(lambda p: jnp.log(p + 1e-7))
l2_missing = squares(-0.015, "kernel")
l2_no_half = squares(0.015, "kernel")
l2_of_biases = squares(0.015, "bias")
l2_added = squares(0.01, "kernel")


@planting
def loss_doubled(trainer):
    """A mean of squares without a half."""
    trainer.objective = lambda own, Y_hat, y: (
        optax.squared_error(Y_hat, y).mean() + trainer.room.penalty(own)
    )


@planting
def loss_broadcast(trainer):
    """Targets of one axis under outputs of two."""
    trainer.objective = lambda own, Y_hat, y: (
        optax.l2_loss(Y_hat - y.squeeze(1)).mean() + trainer.room.penalty(own)
    )


# -- gradients -----------------------------------------------------------------------------------


def by_own(g):
    """Each of its own norm, .02 at most."""
    return {n: v * jnp.minimum(1, 0.02 / jnp.linalg.norm(v)) for n, v in g.items()}


def transformed(made):
    """A transformation of Optax that keeps nothing."""
    return grads(lambda g, state: made.update(g, made.init(g))[0])


gradient_missing = grads(lambda g, state: g | {"W2": jnp.zeros_like(g["W2"])})
gradient_factor = grads(lambda g, state: g | {"W2": 2 * g["W2"]})
clipped_global_norm = transformed(optax.clip_by_global_norm(0.05))
clipped_own_norm = grads(lambda g, state: by_own(g))
clipped_by_value = transformed(optax.clip(0.01))
relu_at_zero = activation(1, lambda X: jnp.maximum(X, 0))
gradient_l2 = grads(lambda g, state: {n: v + 0.01 * state[n] for n, v in g.items()})
gradient_l1 = grads(lambda g, state: {n: v + 0.01 * jnp.sign(state[n]) for n, v in g.items()})


# -- update --------------------------------------------------------------------------------------

chain, scaled = optax.chain, optax.scale_by_learning_rate


def forgetful(made):
    """A transformation that starts anew at every step."""
    return optax.GradientTransformation(
        made.init, lambda g, state, p: made.update(g, made.init(p), p)
    )


def adam_by_hand(change):
    """Adam of Optax, of whose moments change(m, v, t, b1, b2, eps) is made."""

    def make(lr, b1, b2, eps):
        own = optax.scale_by_adam(b1, b2, eps)

        def update(g, state, p=None):
            _, state = own.update(g, state, p)
            t = state.count
            made = {n: change(state.mu[n], state.nu[n], t, b1, b2, eps) for n in g}
            return made, state

        return chain(optax.GradientTransformation(own.init, update), scaled(lr))

    return rule("adam", make)


def hat(m, v, t, b1, b2, eps):
    return jnp.sqrt(1 - b2**t) / (1 - b1**t) * m / (jnp.sqrt(v) + eps)


def from_a_tenth(lr, eps):
    """The sum of squares starts at 0.1."""
    own = optimisers._adagrad(lr, eps)

    def update(g, state, p=None):
        first, *rest = state
        total = jax.tree.map(lambda v: v + 0.1, first.sum_of_squares)
        return own.update(g, (first._replace(sum_of_squares=total), *rest), p)

    return optax.GradientTransformation(own.init, update)


def with_trace(*before):
    """Momentum, with other transformations before it."""
    return lambda lr, momentum: chain(*before, optax.trace(momentum), scaled(lr))


lr_factor = rule("momentum", lambda lr, momentum: optax.sgd(1.001 * lr, momentum))
not_updated = rule(
    "momentum",
    lambda lr, momentum: chain(
        optax.trace(momentum), by_tensor(lambda n, g, p: 0 * g if n == "W2" else g), scaled(lr)
    ),
)
lr_in_velocity = rule(
    "momentum",
    lambda lr, momentum: chain(
        scaled(lr, flip_sign=False), optax.trace(momentum), optax.scale(-1.0)
    ),
)
lr_in_velocity_added = rule(
    "momentum", lambda lr, momentum: chain(optax.scale(-lr), optax.trace(momentum))
)
dampened = rule("momentum", with_trace(optax.scale(1 - 0.7)))
nesterov_or_not = rule("momentum", partial(optax.sgd, nesterov=True))
eps_in_root = rule("rmsprop", optax.rmsprop)
other_eps_in_root = rule("rmsprop", lambda lr, decay, eps: optax.rmsprop(lr, decay, 1e-7))
other_eps = rule(
    "rmsprop", lambda lr, decay, eps: optax.rmsprop(lr, decay, 1e-5, eps_in_sqrt=False)
)
centred = rule("rmsprop", partial(optax.rmsprop, centered=True, eps_in_sqrt=False))
eps_hat = adam_by_hand(hat)
other_eps_hat = adam_by_hand(lambda m, v, t, b1, b2, eps: hat(m, v, t, b1, b2, 1e-7))
no_bias_correction = adam_by_hand(lambda m, v, t, b1, b2, eps: m / (jnp.sqrt(v) + eps))
betas_swapped = rule("adam", lambda lr, b1, b2, eps: optax.adam(lr, b2, b1, eps))
slots_at_start = rule("momentum", lambda lr, momentum: forgetful(optax.sgd(lr, momentum)))
adagrad_start = rule("adagrad", from_a_tenth)
decay_coupled = rule(
    "adam",
    lambda lr, b1, b2, eps: chain(
        optax.add_decayed_weights(0.01), optax.scale_by_adam(b1, b2, eps), scaled(lr)
    ),
)
decay_decoupled = rule("adam", partial(optax.adamw, weight_decay=0.02))
clipped_global_norm_in_step, clipped_own_norm_in_step, clipped_by_value_in_step = (
    rule("adam", lambda lr, clip=clip, **o: chain(clip, optax.scale_by_adam(**o), scaled(lr)))
    for clip in (
        optax.clip_by_global_norm(0.05),
        optax.stateless(lambda g, p: by_own(g)),
        optax.clip(0.01),
    )
)
decay_missing = rule("adamw", lambda lr, weight_decay, **o: optax.adamw(lr, weight_decay=0.0, **o))
decay_not_times_lr = rule(
    "adamw",
    lambda lr, weight_decay, **o: chain(
        optax.scale_by_adam(**o), scaled(lr), optax.add_decayed_weights(-weight_decay)
    ),
)
decay_of_adam_coupled = rule(
    "adamw",
    lambda lr, weight_decay, **o: chain(
        optax.add_decayed_weights(weight_decay), optax.scale_by_adam(**o), scaled(lr)
    ),
)
decay_of_biases = rule(
    "decay",
    lambda lr, weight_decay: chain(optax.add_decayed_weights(weight_decay), scaled(lr)),
)
other_decay = rule("adamw", lambda lr, weight_decay, **o: optax.adamw(lr, weight_decay=0.04, **o))
l1 = rule("momentum", with_trace(by_tensor(lambda n, g, p: g + 0.01 * jnp.sign(p))))


def running(change):
    """change(old, the batch's own): the running tensors."""

    def kept(state, new, own):
        batch = {n: (v - 0.9 * state[n]) / (1 - 0.9) for n, v in new.items()}
        return {n: change(state[n], v) for n, v in batch.items()}, own

    return passed(kept)


running_swapped = running(lambda old, new: 0.1 * old + 0.9 * new)
running_not_updated = running(lambda old, new: old)
running_weight = running(lambda old, new: 0.99 * old + 0.01 * new)


@planting
def running_over_n(trainer):
    """The running variance takes in the batch's over n."""
    right = trainer._apply

    def apply(state, batch, training, **options):
        n = len(batch.X)
        Y_hat, changed = right(state, batch, training, **options)
        if "batch_stats" in changed and training:
            own = (changed["batch_stats"]["bn"]["var"] - 0.9 * state["var"]) * (n - 1) / n
            held = changed["batch_stats"]["bn"] | {"var": 0.9 * state["var"] + own}
            changed = changed | {"batch_stats": {"bn": held}}
        return Y_hat, changed

    trainer._apply = apply


# -- lockstep ------------------------------------------------------------------------------------


def updated(trainer, own):
    """The optimiser's step with these gradients."""
    o = trainer.workload.optimiser
    trainer.state |= optimisers.update(o, optimisers.make(o), trainer.state, own)


@planting
@stepping
def stale_gradients(trainer, past, batch):
    """A step takes the gradients of the one before."""
    (value, _), own = trainer._loss_and_grads(trainer.state, batch)
    past.append(own)
    updated(trainer, past[-2:][0])
    return value


@planting
@stepping
def stale_parameters(trainer, past, batch):
    """Gradients are taken where the step before had them."""
    past.append({**trainer.state})
    (value, _), _ = trainer._loss_and_grads(trainer.state, batch)
    updated(trainer, trainer._loss_and_grads(past[-2:][0], batch)[1])
    return value


@planting
@stepping
def gradients_added_up(trainer, past, batch):
    """Gradients are kept, and added to."""
    (value, _), own = trainer._loss_and_grads(trainer.state, batch)
    past.append({n: v + past[-1][n] for n, v in own.items()} if past else own)
    updated(trainer, past[-1])
    return value


@planting
@stepping
def slots_anew(trainer, past, batch):
    """Every step but the first has an optimiser of its own."""
    (value, _), own = trainer._loss_and_grads(trainer.state, batch)
    if past:
        trainer.state |= {n: 0 * v for n, v in trainer.state.items() if "/" in n}
    past.append(batch)
    updated(trainer, own)
    return value


def every_third(times):
    def step(trainer, past, batch):
        past.append(batch)
        (value, _), own = trainer._loss_and_grads(trainer.state, batch)
        for _ in range(1 if len(past) % 3 else times):
            updated(trainer, own)
        return value

    return planting(stepping(step))


step_skipped, step_twice = every_third(0), every_third(2)


# -- what is no convention -----------------------------------------------------------------------

bump_of_a_gelu = activation(1, lambda X: nn.relu(X) + 4e-4 * X * jnp.exp(-(X**2)))
gelu_by_tanh = activation(1, partial(nn.gelu, approximate=True))
half_a_bias = layer("z2", lambda p, X: X @ p["kernel"] + p["bias"] / 2)
kernel_wrong_from_row_9 = layer("z2", lambda p, X: dense(p, jnp.concatenate([X[:9], X[8:-1]])))
gradient_drifts = grads(
    lambda g, state: {n: v * (1 + 1e-3 * jnp.arange(v.size).reshape(v.shape)) for n, v in g.items()}
)
