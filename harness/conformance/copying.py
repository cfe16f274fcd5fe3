"""Checks of what goes in and out: exact, in the right dtype, and nobody's memory but one's own.

Imports NumPy; no framework.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.conformance.check import Evidence, Failed
from harness.conformance.material import SHORT
from harness.conformance.subject import Subject, aligned, copied, judged, same_batch, same_bits
from harness.interface import Array, Trainer


def dtype_kept(subject: Subject) -> Evidence:
    """Parameters, pixels, logits and gradients come back as NumPy arrays of the asked dtype.

    Labels come back as int64, losses as floats.
    """
    trainer = subject.started()
    batch = trainer.put(*subject.few(7))
    arrays = _returned(trainer, batch)
    losses = trainer.loss_and_grads(batch)[0], trainer.wait(trainer.step(batch))
    arrays |= {f"updated {name}": value for name, value in trainer.get_params().items()}
    for name, array in arrays.items():
        wanted = "int64" if name == "fetched y" else subject.dtype
        if not isinstance(array, np.ndarray):
            raise Failed(f"{name} is a {type(array).__name__}, no NumPy array", tensor=name)
        if array.dtype != np.dtype(wanted):
            raise Failed(f"{name} is {array.dtype} where {wanted} is wanted", tensor=name)
    for name, loss in zip(("loss_and_grads' loss", "wait's loss"), losses, strict=True):
        if not isinstance(loss, float):  # numpy.float64 is one
            raise Failed(f"{name} is a {type(loss).__name__}, no float", tensor="loss")
    return Evidence(message=f"{len(arrays)} arrays")


def parameters_round_trip(subject: Subject) -> Evidence:
    """What get_params gives is what set_params was given, bit for bit.

    Signed zeros, subnormal, tiny and huge numbers, in any layout in memory.
    """
    rng, strange = np.random.default_rng(0), _strange(subject.dtype)
    params = {name: rng.choice(strange, value.shape) for name, value in subject.initial.items()}
    subject.trainer.set_params({n: _laid_out_otherwise(value) for n, value in params.items()})
    got = subject.trainer.get_params()
    if {*got} != {*params}:
        raise Failed(f"get_params has {', '.join(got)} where {', '.join(params)} are wanted")
    same_bits("parameter {}", got, params)
    return _none_differs(f"{sum(value.size for value in params.values())} numbers")


def batch_round_trip(subject: Subject) -> Evidence:
    """What fetch gives is what put was given, bit for bit, at every batch size.

    In any layout in memory; labels of any integer type.
    """
    trainer = subject.trainer
    for size in subject.material.sizes:
        x, y = subject.few(size)
        same_batch(f"batch of {size}", trainer.fetch(trainer.put(x.copy(), y.copy())), x, y)
    x, y = subject.few(SHORT)
    x = np.random.default_rng(0).choice(_strange(subject.dtype), x.shape)
    kinds = ("int64", "int32", "uint8")
    for kind in kinds:
        labels = _laid_out_otherwise(y.astype(kind))
        got = trainer.fetch(trainer.put(_laid_out_otherwise(x), labels))
        same_batch(f"batch with labels {kind}", got, x, y)
    return _none_differs(f"{len(subject.material.sizes) + len(kinds)} batches")


def inputs_unchanged(subject: Subject) -> Evidence:
    """No call changes what it is handed, and memory that is read only is taken too."""
    trainer = subject.trainer
    params, (x, y) = copied(subject.initial), map(aligned, subject.rows(0))

    def look(after: str) -> None:
        same_bits(f"the caller's {{}} after {after}", params, subject.initial)
        same_batch(f"the caller's batch after {after}", (x, y), *subject.rows(0))

    trainer.set_params(params)
    look("set_params")
    batch = trainer.put(x, y)
    look("put")
    trainer.logits(batch)
    trainer.loss_and_grads(batch)
    look("logits and loss_and_grads")
    trainer.wait(trainer.step(batch))
    look("a step")
    same_batch("the batch after a step", trainer.fetch(batch), x, y)
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
    same_bits("{}, after the caller wrote into its own", trainer.get_params(), subject.initial)
    x, y = subject.rows(0)
    own_x, own_y = aligned(x), aligned(y)
    batch, left_alone = trainer.put(own_x, own_y), trainer.put(x, y)
    own_x.fill(-1)
    own_y[...] = (own_y + 1) % subject.workload.sizes["num_outputs"]
    same_batch("after the caller wrote", trainer.fetch(batch), x, y)
    # What is fetched may be a copy beside what is computed with.
    want_loss, loss = trainer.loss_and_grads(left_alone)[0], trainer.loss_and_grads(batch)[0]
    case = "a batch whose caller wrote into its own arrays"
    return judged([subject.compared("loss", "loss", loss, want_loss, case)])


def returned_arrays_fresh(subject: Subject) -> Evidence:
    """No array that was returned changes later, and writing into one changes nothing else."""
    trainer = subject.started()
    batch, other = trainer.put(*subject.rows(0)), trainer.put(*subject.rows(1))
    returned = _returned(trainer, batch)
    kept = {name: np.array(array) for name, array in returned.items()}
    for _ in range(2):
        trainer.wait(trainer.step(other))
        trainer.logits(other)
        trainer.loss_and_grads(other)
        trainer.fetch(other)
    trainer.set_params({name: value + 1 for name, value in subject.initial.items()})
    same_bits("{}, returned before later steps", returned, kept)

    trainer.set_params(copied(subject.initial))
    for array in _returned(trainer, batch).values():
        if array.flags.writeable:
            array[...] = 99
    again = _returned(trainer, batch)
    # What is computed may differ by rounding, in a framework that does not repeat itself.
    computed = {name for name in kept if name.startswith(("logits", "gradient"))}
    for name in computed:
        if not np.allclose(again[name], kept[name], rtol=1e-3, atol=1e-6):
            raise Failed(f"{name}: what the caller wrote into an array shows", tensor=name)
    copies = {name: array for name, array in kept.items() if name not in computed}
    same_bits("{}, after the caller wrote into it", again, copies)
    return Evidence(message=f"{len(kept)} arrays")


def _returned(trainer: Trainer, batch: Any) -> dict[str, Array]:
    """Every array that a trainer hands out, by a name for people."""
    arrays = {f"parameter {name}": value for name, value in trainer.get_params().items()}
    arrays |= {f"fetched {n}": array for n, array in zip("xy", trainer.fetch(batch), strict=True)}
    arrays["logits"] = trainer.logits(batch)
    gradients = trainer.loss_and_grads(batch)[1]
    return arrays | {f"gradient {name}": value for name, value in gradients.items()}


def _strange(dtype: str) -> Array:
    """Numbers that copying must not touch, of both signs, in a dtype."""
    info = np.finfo(dtype)
    tiniest, tiny, eps, huge = info.smallest_subnormal, info.tiny, info.eps, info.max
    size = np.array([0, tiniest, 100 * tiniest, tiny, eps, 1 / 255, 1, 1 + eps, 1 / eps, huge])
    return np.concatenate([size, -size]).astype(dtype)


def _laid_out_otherwise(array: Array) -> Array:
    """The same values, in a memory that is not C order: Fortran order, or every second place."""
    return np.asfortranarray(array) if array.ndim > 1 else np.repeat(array, 2)[::2]


def _none_differs(what: str) -> Evidence:
    return Evidence(message=what, value=0.0, limit=0.0, why="elements that differ")
