"""Checks of what goes in and out: exact, in the right dtype, and nobody's memory but one's own.

Imports NumPy; no framework.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.conformance.check import Evidence, Failed
from harness.conformance.subject import Subject, copied, judged, same_batch, same_bits
from harness.interface import Array, State, Traces, Trainer


def dtype_kept(subject: Subject) -> Evidence:
    """State, batches, outputs and gradients come back as NumPy arrays of the asked dtype.

    Classes come back as int64, losses as floats.
    """
    trainer = subject.started()
    batch = trainer.put(subject.few(7))
    arrays = _returned(trainer, batch)
    losses = trainer.loss_and_grads(batch)[0], trainer.wait(trainer.step(batch))
    arrays |= {f"updated {name}": value for name, value in trainer.get_state().items()}
    for name, array in arrays.items():
        classes = name == "fetched y" and subject.workload.y == "class"
        wanted = "int64" if classes else subject.dtype
        if not isinstance(array, np.ndarray):
            raise Failed(f"{name} is a {type(array).__name__}, no NumPy array", tensor=name)
        if array.dtype != np.dtype(wanted):
            raise Failed(f"{name} is {array.dtype} where {wanted} is wanted", tensor=name)
    for name, loss in zip(("loss_and_grads' loss", "wait's loss"), losses, strict=True):
        if not isinstance(loss, float):  # numpy.float64 is one
            raise Failed(f"{name} is a {type(loss).__name__}, no float", tensor="loss")
    return Evidence(message=f"{len(arrays)} arrays")


def state_round_trip(subject: Subject) -> Evidence:
    """What get_state gives is what set_state was given, bit for bit.

    The optimiser's and running tensors too; signed zeros, subnormal, tiny and huge numbers, in any
    layout in memory.
    """
    rng, strange = np.random.default_rng(0), _strange(subject.dtype)
    state = {n: np.asarray(rng.choice(strange, v.shape)) for n, v in subject.initial.items()}
    state |= {name: np.array(12345, subject.dtype) for name in _counters(subject)}
    subject.trainer.set_state({n: _laid_out_otherwise(value) for n, value in state.items()})
    got = subject.trainer.get_state()
    if {*got} != {*state}:
        raise Failed(f"get_state has {', '.join(got)} where {', '.join(state)} are wanted")
    same_bits("{}", got, state)
    return _none_differs(f"{sum(value.size for value in state.values())} numbers")


def batch_round_trip(subject: Subject) -> Evidence:
    """What fetch gives is what put was given, bit for bit, at every batch size.

    In any layout in memory; classes of any integer type.
    """
    trainer = subject.trainer
    for size in subject.material.sizes:
        batch = subject.few(size)
        same_batch(f"batch of {size}", trainer.fetch(trainer.put(copied(batch))), batch)
    rng, strange = np.random.default_rng(0), _strange(subject.dtype)
    batch = subject.few(subject.material.short)
    for name, value in batch.items():
        if value.dtype.kind == "f":
            batch[name] = np.asarray(rng.choice(strange, value.shape))
    kinds = ("int64", "int32", "uint8") if subject.workload.y == "class" else (subject.dtype,)
    for kind in kinds:
        given = batch if "y" not in batch else batch | {"y": batch["y"].astype(kind)}
        held = trainer.put({n: _laid_out_otherwise(value) for n, value in given.items()})
        same_batch(f"batch of strange numbers, y {kind}", trainer.fetch(held), batch)
    return _none_differs(f"{len(subject.material.sizes) + len(kinds)} batches")


def inputs_unchanged(subject: Subject) -> Evidence:
    """No call changes what it is handed, and memory that is read only is taken too."""
    trainer = subject.trainer
    state, given = copied(subject.initial), copied(subject.rows(0))

    def look(after: str) -> None:
        same_bits(f"the caller's {{}} after {after}", state, subject.initial)
        same_batch(f"the caller's batch after {after}", given, subject.rows(0))

    trainer.set_state(state)
    look("set_state")
    batch = trainer.put(given)
    look("put")
    _looked_at(trainer, batch)
    look("outputs and loss_and_grads")
    trainer.wait(trainer.step(batch))
    look("a step")
    same_batch("the batch after a step", trainer.fetch(batch), given)
    for array in (*state.values(), *given.values()):  # as a mapped file is
        array.flags.writeable = False
    trainer.set_state(state)
    trainer.wait(trainer.step(trainer.put(given)))
    return Evidence(message=f"{len(state)} tensors, {' and '.join(given)}")


def callers_memory_copied(subject: Subject) -> Evidence:
    """What the caller writes into its own arrays later reaches neither state nor batches.

    Later: after set_state or put has returned.
    """
    trainer = subject.trainer
    state = copied(subject.initial)
    trainer.set_state(state)
    for name in state:
        state[name] += 1
    same_bits("{}, after the caller wrote into its own", trainer.get_state(), subject.initial)
    right = subject.rows(0)
    own = copied(right)
    batch, left_alone = trainer.put(own), trainer.put(right)
    for value in own.values():
        value[...] = 0 if value.dtype.kind in "iu" else -1  # a class that there is
    same_batch("after the caller wrote", trainer.fetch(batch), right)
    # What is fetched may be a copy beside what is computed with.
    want_loss, loss = trainer.loss_and_grads(left_alone)[0], trainer.loss_and_grads(batch)[0]
    case = "a batch whose caller wrote into its own arrays"
    return judged([subject.compared("loss", "loss", loss, want_loss, case)])


def returned_arrays_fresh(subject: Subject) -> Evidence:
    """No array that was returned changes later, and writing into one changes nothing else."""
    trainer = subject.started()
    batch, other = trainer.put(subject.rows(0)), trainer.put(subject.rows(1))
    returned = _returned(trainer, batch)
    kept = {name: np.array(array) for name, array in returned.items()}
    for _ in range(2):
        trainer.wait(trainer.step(other))
        _looked_at(trainer, other)
        trainer.fetch(other)
    trainer.set_state({name: value + 1 for name, value in subject.initial.items()})
    same_bits("{}, returned before later steps", returned, kept)

    trainer.set_state(copied(subject.initial))
    for array in _returned(trainer, batch).values():
        if array.flags.writeable:
            array[...] = 99
    again = _returned(trainer, batch)
    # What is computed may differ by rounding, in a framework that does not repeat itself.
    copies = {name for name in kept if name.startswith(("held", "fetched"))}
    for name in kept.keys() - copies:
        if not np.allclose(again[name], kept[name], rtol=1e-3, atol=1e-6):
            raise Failed(f"{name}: what the caller wrote into an array shows", tensor=name)
    same_bits("{}, after the caller wrote into it", again, {n: kept[n] for n in copies})
    return Evidence(message=f"{len(kept)} arrays")


def _returned(trainer: Trainer, batch: Any) -> dict[str, Array]:
    """Every array that a trainer hands out, by a name for people."""
    arrays = {f"held {name}": value for name, value in trainer.get_state().items()}
    arrays |= {f"fetched {name}": value for name, value in trainer.fetch(batch).items()}
    return arrays | _looked_at(trainer, batch)


def _looked_at(trainer: Trainer, batch: Any) -> State:
    """Every array that is computed without a step, by a name for people."""
    arrays = {
        "outputs": trainer.outputs(batch, training=False),
        "outputs, training": trainer.outputs(batch, training=True),
    }
    gradients = trainer.loss_and_grads(batch)[1]
    arrays |= {f"gradient {name}": value for name, value in gradients.items()}
    if isinstance(trainer, Traces):
        arrays |= {f"trace {name}": value for name, value in trainer.trace(batch).items()}
    return arrays


def _counters(subject: Subject) -> list[str]:
    """Single numbers of the optimiser's: counts of steps."""
    return [t.name for t in subject.workload.tensors if t.role == "optimiser" and not t.shape]


def _strange(dtype: str) -> Array:
    """Numbers that copying must not touch, of both signs, in a dtype."""
    info = np.finfo(dtype)
    tiniest, tiny, eps, huge = info.smallest_subnormal, info.tiny, info.eps, info.max
    size = np.array([0, tiniest, 100 * tiniest, tiny, eps, 1 / 255, 1, 1 + eps, 1 / eps, huge])
    return np.concatenate([size, -size]).astype(dtype)


def _laid_out_otherwise(array: Array) -> Array:
    """The same values, in a memory that is not C order: Fortran order, or every second place."""
    if not array.ndim:
        return array
    return np.asfortranarray(array) if array.ndim > 1 else np.repeat(array, 2)[::2]


def _none_differs(what: str) -> Evidence:
    return Evidence(message=what, value=0.0, limit=0.0, why="elements that differ")
