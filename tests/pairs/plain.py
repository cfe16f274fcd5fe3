"""Functions of NumPy arrays, some the same, some not, and some that misbehave."""

from __future__ import annotations

import os
import time

import numpy as np
from scipy import special


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_by_reciprocal(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e * (1 / e.sum(-1, keepdims=True))


def softmax_by_logarithm(x):
    return np.exp(x - special.logsumexp(x, axis=-1, keepdims=True).astype(x.dtype))


def softmax_naive(x):
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


def logsumexp(x):
    most = x.max(-1)
    level = np.where(np.isfinite(most), most, x.dtype.type(0))
    return level + np.log(np.exp(x - level[..., None]).sum(-1))


def logsumexp_scipy(x):
    return np.asarray(special.logsumexp(x, axis=-1), x.dtype)


def matmul(a, b):
    return a @ b


def matmul_backwards(a, b):
    return a[:, ::-1] @ b[::-1]


def matmul_in_bfloat16(a, b):
    if a.dtype == np.float64:
        return a @ b
    short = [(m.view(np.uint32) + 0x8000 & 0xFFFF0000).view(np.float32) for m in (a, b)]
    return short[0] @ short[1]


def layer_norm(x, w, b, eps=1e-5, factor=1.0):
    centred = x - x.mean(-1, keepdims=True)
    root = np.sqrt((centred**2).mean(-1, keepdims=True) + x.dtype.type(eps))
    return centred / root * w * x.dtype.type(factor) + b


def layer_norm_by_var(x, w, b):
    return (x - x.mean(-1, keepdims=True)) * (x.var(-1, keepdims=True) + 1e-5) ** -0.5 * w + b


def layer_norm_other_eps(x, w, b):
    return layer_norm(x, w, b, eps=1e-6)


def layer_norm_off(x, w, b):
    return layer_norm(x, w, b, factor=1 + 3e-6)


def relu(x):
    return np.maximum(x, x.dtype.type(0))


def relu_without_nan(x):
    return np.fmax(x, x.dtype.type(0))


def gelu(x):
    return x * special.ndtr(x)


def cumsum(x):
    return np.cumsum(x, -1)


def cumsum_from_zero(x):
    return np.cumsum(x, -1) - x


def max_pool(x):
    """x: (n, 2 k) -> (n, k)."""
    return x.reshape(len(x), -1, 2).max(-1)


def max_pool_by_pairs(x):
    return np.maximum(x[:, ::2], x[:, 1::2])


def max_pool_of_windows(x):
    windows = np.lib.stride_tricks.sliding_window_view(x, 2, -1)[:, ::2]
    if x.shape[-1] % 2 or not len(x):
        raise ValueError("pairs are wanted")
    return windows.max(-1)


def std(x):
    return x.std(-1)


def std_by_freedom(x):
    return x.std(-1, ddof=1)


def variance(x):
    return ((x - x.mean(-1, keepdims=True)) ** 2).mean(-1)


def variance_in_one_pass(x):
    return (x * x).mean(-1) - x.mean(-1) ** 2


def narrow(x):
    return x.astype(np.float32) * np.float32(2.5)


def narrow_inside(x):
    return (x.astype(np.float32) * np.float32(2.5)).astype(x.dtype)


def scaled(x):
    return x * x.dtype.type(2.5)


def products(x, w):
    return (x @ w).sum()


def recurrent(x, w):
    """A hundred steps of one cell. x: (n, k), w: (k, k) -> (n, k)."""
    h = np.zeros_like(x)
    for _ in range(100):
        h = np.tanh(x + (h @ w) / x.dtype.type(8))
    return h


def transposed_square(x):
    return (x @ x.T * np.arange(8, dtype=x.dtype)).T


def square(x):
    return x @ x.T * np.arange(8, dtype=x.dtype)


def square_off(x):
    """One element of it is another."""
    return transposed_square(x) + x.dtype.type(1e-6) * np.eye(8, dtype=x.dtype)[[0] * 8]


def negative(x):
    return x * x.dtype.type(-2.5)


def scaled_off(x):
    return x * x.dtype.type(2.5) + x.dtype.type(1e-9)


def a_little_more(x):
    return x * x.dtype.type(2.5 * (1 + 2.0**-18))


def sum_of_all_more(x):
    return x.sum() * x.dtype.type(1.25)


def mean_square(x):
    return (x * x).mean()


def square_sum(x):
    return (x * x).sum()


def moments(x):
    return x.mean(0), x.var((0, 1), keepdims=True)


def moments_by_freedom(x):
    return x.mean(0), x.var((0, 1), ddof=1, keepdims=True)


def largest(x):
    return x.argmax(-1)


def largest_but_the_last(x):
    return x.shape[-1] - 1 - x[..., ::-1].argmax(-1)


def weighted(x, w):
    return (x * w).sum(-1)


def as_the_layer(x):
    """What `in_torch.linear` computes, in whatever dtype."""
    from tests.pairs.in_torch import layer

    weight, bias = (p.detach().numpy().astype(x.dtype) for p in (layer.weight, layer.bias))
    return x @ weight.T + bias


def one_hot(y):
    return np.eye(10, dtype=np.float32)[y]


def one_hot_by_equality(y):
    return (y[..., None] == np.arange(10)).astype(np.float32)


def both(x):
    return x.mean(-1), {"root": np.sqrt(np.abs(x))}


def both_again(x):
    return x[..., ::-1].sum(-1) / x.dtype.type(x.shape[-1]), {
        "root": np.abs(x) ** x.dtype.type(0.5)
    }


# ---- what misbehaves -----------------------------------------------------------------------------


def as_list(x):
    return [float(v) for v in x.sum(-1)]


def total(x):
    return x.sum(-1)


def as_number(x):
    return float(x.sum())


def sum_of_all(x):
    return x.sum()


def in_place(x):
    x *= x.dtype.type(2.5)
    return x


def in_float64(x):
    return x.astype(np.float64) * 2.5


def transposed(x):
    return scaled(x).T


def nothing(x):
    return None


def a_text(x):
    return "2.5"


def complex_numbers(x):
    return x * 1j


def raises(x):
    raise RuntimeError("no such luck")


def leaves(x):
    raise SystemExit(3)


def raises_at_nan(x):
    if np.isnan(x).any():
        raise ValueError("a NaN")
    return scaled(x)


def dies(x):
    os._exit(3)


def dies_at_nan(x):
    if np.isnan(x).any():
        os._exit(3)
    return scaled(x)


def dies_when_not_finite(x):
    if not np.isfinite(x).all() or not x.all():
        os._exit(3)
    return scaled(x)


def hangs(x):
    time.sleep(600)


def random(x):
    return x + np.random.default_rng().standard_normal(x.shape).astype(x.dtype)


def talks(x):
    print("a word to the terminal")
    os.write(1, b"and another\n")
    return scaled(x)


def makes_arguments():
    return {"x": np.arange(12, dtype=np.float32).reshape(3, 4) / 8, "eps": 1e-5}


def makes_a_tuple():
    return (np.ones((3, 4), np.float32),)


def makes_nothing():
    return None


def root(x, eps):
    return np.sqrt(x + x.dtype.type(eps))


# ---- whole numbers, and outputs with nothing in them ---------------------------------------------


def itself(x):
    return x


def doubled(x):
    return x * x.dtype.type(2)


def next_whole(x):
    return x + x.dtype.type(1)


def sum_of_all_twice(x):
    return x.sum() * x.dtype.type(2)


def nan_everywhere(x):
    return x * x.dtype.type(np.nan)


def infinite(x):
    return np.full_like(x, np.inf)


def no_output(x):
    return {}


def positive(x):
    return x > 0


def positive_as_ones(x):
    return (x > 0).astype(np.int64)


def positive_as_floats(x):
    return (x > 0).astype(np.float32 if x.dtype.kind != "f" else x.dtype)


def at_least_one(x):
    return x >= 1


def two_to_the_53(x):
    return np.full(3, 2**53, np.int64)


def two_to_the_53_and_one(x):
    return np.full(3, 2**53 + 1, np.int64)


def two_to_the_53_in_float64(x):
    return np.full(3, 2**53, np.float64 if x.dtype != np.float32 else np.float32)


def largest_uint64(x):
    return np.full(3, 2**64 - 1, np.uint64)


def largest_uint64_but_one(x):
    return np.full(3, 2**64 - 2, np.uint64)


def minus_one(x):
    return np.full(3, -1, np.int64)


def counts_up(x, calls=[0]):  # noqa: B006 - that it keeps what it did is the point
    calls[0] += 1
    return np.full(3, 2**53 + calls[0])


def digits_of(x):
    """Whole numbers, every one of which moves where x moves in its last digits."""
    return (x.astype(np.float64) * 2.0**60).astype(np.int64)


def half_the_digits_of(x):
    return digits_of(x) // 2


def with_nothing_beside(x):
    return {"all": x, "none": x[:0]}


def with_nan_beside(x):
    return {"all": x, "none": nan_everywhere(x)}


def with_doubled_nothing_beside(x):
    return {"all": x, "none": x[:0] * 2}


def some_nan(x):
    return np.sqrt(x)


def in_longdouble(x):
    return x.astype(np.longdouble)


def makes_complex_numbers():
    return {"x": np.array([1j])}
