"""Checks of what goes in and out: exact, in the right dtype, and nobody's memory but one's own.

Imports NumPy; no framework.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.conformance.check import Evidence, Failed
from harness.conformance.material import SIZES
from harness.conformance.subject import Subject, aligned, copied, same_bits
from harness.interface import Array


def dtype_kept(subject: Subject) -> Evidence:
    """Parameters, pixels, logits and gradients come back as NumPy arrays of the asked dtype.

    Labels come back as int64, losses as floats.
    """
    trainer, dtype = subject.trainer, subject.dtype
    trainer.set_params(copied(subject.initial))
    batch = trainer.put(*subject.few(7))
    x, y = trainer.fetch(batch)
    loss, grads = trainer.loss_and_grads(batch)
    arrays = {"x": x, "logits": trainer.logits(batch)}
    arrays |= {f"parameter {name}": value for name, value in trainer.get_params().items()}
    arrays |= {f"gradient {name}": value for name, value in grads.items()}
    step_loss = trainer.wait(trainer.step(batch))
    arrays |= {f"updated {name}": value for name, value in trainer.get_params().items()}
    for name, array in (arrays | {"y": y}).items():
        wanted = "int64" if name == "y" else dtype
        if not isinstance(array, np.ndarray):
            raise Failed(f"{name} is a {type(array).__name__}, no NumPy array", tensor=name)
        if array.dtype != np.dtype(wanted):
            raise Failed(f"{name} is {array.dtype} where {wanted} is wanted", tensor=name)
    for name, number in (("loss_and_grads' loss", loss), ("wait's loss", step_loss)):
        if not isinstance(number, float):  # numpy.float64 is one
            raise Failed(f"{name} is a {type(number).__name__}, no float", tensor="loss")
    return Evidence(message=f"{len(arrays) + 1} arrays")


def parameters_round_trip(subject: Subject) -> Evidence:
    """What get_params gives is what set_params was given, bit for bit.

    Signed zeros, subnormal, tiny and huge numbers, in any layout in memory.
    """
    rng = np.random.default_rng(0)
    strange = _strange(subject.dtype)
    params = {
        name: rng.choice(strange, value.shape).astype(subject.dtype)
        for name, value in subject.initial.items()
    }
    subject.trainer.set_params({n: _laid_out_otherwise(value) for n, value in params.items()})
    got = subject.trainer.get_params()
    if {*got} != {*params}:
        raise Failed(f"get_params has {', '.join(got)} where {', '.join(params)} are wanted")
    for name, value in params.items():
        same_bits(f"parameter {name}", got[name], value, subject.dtype)
    count = sum(value.size for value in params.values())
    return Evidence(message=f"{count} numbers", value=0.0, limit=0.0, why="elements that differ")


def batch_round_trip(subject: Subject) -> Evidence:
    """What fetch gives is what put was given, bit for bit, at every batch size.

    In any layout in memory; labels of any integer type.
    """
    trainer = subject.trainer
    for size in SIZES:
        x, y = subject.few(size)
        got = trainer.fetch(trainer.put(x.copy(), y.copy()))
        _same_batch(f"batch of {size}", got, x, y, subject.dtype)
    rng = np.random.default_rng(0)
    x, y = subject.few(SIZES[1])
    x = rng.choice(_strange(subject.dtype), x.shape).astype(subject.dtype)
    for kind in ("int64", "int32", "uint8"):
        got = trainer.fetch(trainer.put(_laid_out_otherwise(x), np.repeat(y.astype(kind), 2)[::2]))
        _same_batch(f"batch with labels {kind}", got, x, y, subject.dtype)
    return Evidence(message="7 batches", value=0.0, limit=0.0, why="elements that differ")


def inputs_unchanged(subject: Subject) -> Evidence:
    """No call changes what it is handed, and memory that is read only is taken too."""
    trainer = subject.trainer
    params, (x, y) = copied(subject.initial), map(aligned, subject.rows(0))

    def look(after: str) -> None:
        for name, value in subject.initial.items():
            same_bits(f"the caller's {name} after {after}", params[name], value, subject.dtype)
        for name, array, value in zip("xy", (x, y), subject.rows(0), strict=True):
            same_bits(f"the caller's {name} after {after}", array, value, subject.dtype)

    trainer.set_params(params)
    look("set_params")
    batch = trainer.put(x, y)
    look("put")
    trainer.logits(batch)
    trainer.loss_and_grads(batch)
    look("logits and loss_and_grads")
    trainer.wait(trainer.step(batch))
    look("a step")
    held = trainer.fetch(batch)
    for name, array, value in zip("xy", held, (x, y), strict=True):
        same_bits(f"the batch's {name} after a step", array, value, subject.dtype)
    for array in (*params.values(), x, y):  # as a mapped file is
        array.flags.writeable = False
    trainer.set_params(params)
    trainer.wait(trainer.step(trainer.put(x, y)))
    return Evidence(message="4 parameters, x and y")


def callers_memory_copied(subject: Subject) -> Evidence:
    """What the caller writes into its own arrays later reaches neither parameters nor batches.

    Later: after set_params or put has returned.
    """
    trainer = subject.trainer
    params = copied(subject.initial)
    trainer.set_params(params)
    for name in params:
        params[name] += 1
    for name, value in trainer.get_params().items():
        want = subject.initial[name]
        same_bits(f"{name}, after the caller wrote into its own", value, want, subject.dtype)
    x, y = subject.rows(0)
    mine = aligned(x), aligned(y)
    batch = trainer.put(*mine)
    left_alone = trainer.put(x, y)
    mine[0].fill(-1)
    mine[1][...] = (mine[1] + 1) % subject.workload.sizes["num_outputs"]
    _same_batch("after the caller wrote", trainer.fetch(batch), x, y, subject.dtype)
    # What is fetched may be a copy beside what is computed with.
    want_loss = trainer.loss_and_grads(left_alone)[0]
    loss = trainer.loss_and_grads(batch)[0]
    limit = subject.limit("loss")
    if not abs(loss - want_loss) <= limit.value * abs(want_loss):
        raise Failed(
            f"loss of a batch whose caller wrote into its own arrays: {loss!r}, not {want_loss!r}",
            value=abs(loss - want_loss) / abs(want_loss),
            limit=limit.value,
            why=limit.reason,
            tensor="loss",
        )
    return Evidence(message="4 parameters, x and y")


def returned_arrays_fresh(subject: Subject) -> Evidence:
    """No array that was returned changes later, and writing into one changes nothing else."""
    trainer = subject.trainer
    trainer.set_params(copied(subject.initial))
    batch, other = trainer.put(*subject.rows(0)), trainer.put(*subject.rows(1))
    returned = [*_returned(trainer, batch)]
    kept = [(name, np.array(array)) for name, array in returned]
    for _ in range(2):
        trainer.wait(trainer.step(other))
        trainer.logits(other)
        trainer.loss_and_grads(other)
        trainer.fetch(other)
    trainer.set_params({name: value + 1 for name, value in subject.initial.items()})
    for (name, array), (_, copy) in zip(returned, kept, strict=True):
        same_bits(f"{name}, returned before later steps", array, copy, subject.dtype)

    trainer.set_params(copied(subject.initial))
    for _, array in _returned(trainer, batch):
        if array.flags.writeable:
            array[...] = 99
    for (name, array), (_, copy) in zip(_returned(trainer, batch), kept, strict=True):
        # What is computed may differ by rounding, in a framework that does not repeat itself.
        if name.startswith(("logits", "gradient")):
            if not np.allclose(array, copy, rtol=1e-3, atol=1e-6):
                raise Failed(f"{name}: what the caller wrote into an array shows", tensor=name)
        else:
            same_bits(f"{name}, after the caller wrote into it", array, copy, subject.dtype)
    return Evidence(message=f"{len(kept)} arrays")


def _returned(trainer: Any, batch: Any) -> Iterator[tuple[str, Array]]:
    """Every array that a trainer hands out, by a name for people."""
    for name, value in trainer.get_params().items():
        yield f"parameter {name}", value
    for name, value in zip("xy", trainer.fetch(batch), strict=True):
        yield f"fetched {name}", value
    yield "logits", trainer.logits(batch)
    for name, value in trainer.loss_and_grads(batch)[1].items():
        yield f"gradient {name}", value


def _strange(dtype: str) -> Array:
    """Numbers that copying must not touch, of both signs, in a dtype."""
    info = np.finfo(dtype)
    tiniest, tiny, eps, huge = (
        float(value) for value in (info.smallest_subnormal, info.tiny, info.eps, info.max)
    )
    size = [0.0, tiniest, 100 * tiniest, tiny, eps, 1 / 255, 1.0, 1 + eps, 1 / eps, huge]
    return np.array([*size, *(-value for value in size)], dtype=dtype)


def _laid_out_otherwise(array: Array) -> Array:
    """The same values, in a memory that is not C order: Fortran order, or every second place."""
    return np.asfortranarray(array) if array.ndim > 1 else np.repeat(array, 2)[::2]


def _same_batch(what: str, got: tuple[Array, Array], x: Array, y: Array, dtype: str) -> None:
    same_bits(f"{what}: x", got[0], x, dtype)
    same_bits(f"{what}: y", got[1], y.astype(np.int64), dtype)
