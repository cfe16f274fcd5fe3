"""What a backend implements, and all that it may import from the harness.

Requirements on a backend, in short:

1. One `Backend` per process: it pins device, dtype, threads and precision, or raises `Unavailable`.
2. `trainer(workload)` builds the model the framework's own way and returns a `Trainer`.
3. `set_params` and `put` copy; whatever is returned is fresh, and nothing changes it later.
4. `step` is the very code that is timed; `wait` returns only when every queued update is done.
5. Nothing happens at import time: no global configuration, no change to the environment.

The docstrings below are the contract, method by method; docs/contract.md names, for each part of
it, the check of the conformance kit that sees it broken.

This module imports only the standard library, NumPy and msgspec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec
import numpy.typing as npt

Array = npt.NDArray[Any]
Params = dict[str, Array]


class Unavailable(Exception):
    """A backend cannot run here (framework missing, no such device); the message says why."""


class NoFloat64(Unavailable):
    """The device has no float64: lockstep cannot be judged there, and nothing else is wrong."""


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One trainable tensor: its canonical name, its shape (inputs x outputs), how it starts.

    `init` is "normal" (standard normal x the workload's sigma) or "zeros". `axes` names what each
    axis counts: entries of one name are the same units wherever the name stands.
    """

    name: str
    shape: tuple[int, ...]
    init: str
    axes: tuple[str, ...] = ()


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One matrix product a @ b of a training step: shapes as stored, and which is transposed."""

    a: tuple[int, int]
    b: tuple[int, int]
    transposed: str = ""


class Workload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is trained, framework-neutral: plain data, the same for every backend.

    `model` names a class that every backend has; `sizes` are its constructor's keyword arguments.
    `loss` and `optimiser` are names a backend must know, or refuse with ValueError.
    `products` are the matrix products of one step at the full batch size: the floor of its time.
    `symmetries`: axes whose units may be permuted without changing what is computed; one called
    "inputs" permutes the columns of x with them.
    """

    name: str
    model: str
    sizes: dict[str, int]
    sigma: float
    parameters: tuple[Parameter, ...]
    loss: str
    optimiser: str
    lr: float
    batch_size: int
    epochs: int
    dataset: str
    products: tuple[Product, ...]
    symmetries: tuple[str, ...] = ()

    @property
    def flop(self) -> int:
        """Floating-point operations of the products: 2 m k n for (m, k) times (k, n)."""
        return sum(
            2 * p.a[0] * p.a[1] * p.b[0 if p.transposed == "b" else 1] for p in self.products
        )


class Trainer(Protocol):
    """One model with its parameters and optimiser state, on one device in one dtype.

    `Batch` and `Loss` are whatever the framework likes: the harness only hands them back. Several
    trainers of one backend may live side by side; none may touch another. An array that goes in is
    the caller's: it may be read only, in any layout in memory, and be written into as soon as the
    call has returned; none may be kept or changed. An array that comes out is NumPy's, fresh, and
    never changes afterwards. Arrays have the trainer's dtype, except labels.
    """

    def set_params(self, params: Params) -> None:
        """Copy `params` in, bit for bit, and make the trainer as new.

        params: by the workload's names, float arrays (inputs, outputs) or (outputs,), in the
        trainer's dtype, of any values. The optimiser's state, counters and waiting gradients are
        reset: the same steps then give the same. Raises ValueError, in one line that names the
        parameter, where one is missing, unknown or of another shape; nothing is changed then.
        """

    def get_params(self) -> Params:
        """Fresh copies of all parameters after every update that was queued, by name.

        What `set_params` took comes back bit for bit, in the workload's names and shapes.
        """

    def put(self, x: Array, y: Array) -> Any:
        """Copy a batch to the device, bit for bit, finished on return.

        x: float (n, inputs) in the trainer's dtype; y: integers of any type (n,), classes from 0.
        n is any number from 1 up, and differs from batch to batch. Raises ValueError, in one line,
        for other ranks, another width, another number of labels, or labels that are no integers.
        """

    def fetch(self, batch: Any) -> tuple[Array, Array]:
        """What the device holds of a batch: x: float (n, inputs), y: int64 (n,), fresh copies.

        Not what was handed to `put`, and not kept beside what is computed with.
        """

    def step(self, batch: Any) -> Any:
        """One update of every parameter; a handle on the mean loss *before* it.

        It may return before the update is done, and further steps may be queued behind it. This is
        the code that is timed: what it computes is the workload's model, loss (the mean over the
        batch's n samples) and optimiser, and nothing else.
        """

    def wait(self, loss: Any) -> float:
        """Block until every queued update is done; the mean loss of the handle's own step, in nats.

        Handles may be waited for later and in any order. Nothing is left to compute or to copy for
        who reads the parameters next.
        """

    def logits(self, batch: Any) -> Array:
        """Logits (n, outputs) at the present parameters; nothing is updated."""

    def loss_and_grads(self, batch: Any) -> tuple[float, Params]:
        """The mean loss in nats, and its gradient by each parameter, by name and in its shape.

        Nothing is updated, and nothing is kept: the next step is what it would have been.
        """

    def close(self) -> None:
        """Give back what the trainer holds: memory, threads, processes, files.

        Other trainers work on, and new ones may be made. Nothing else is called after it.
        """


@runtime_checkable
class RunsMany(Trainer, Protocol):
    """A trainer that gains by taking many steps as one call; one that does not has no `run`."""

    def run(self, batches: Sequence[Any]) -> list[float]:
        """As many updates as `batches`, finished on return; the mean loss before each, in nats.

        `batches` are what `put` returned, full and all of one size, taken in order. The updates
        are those of `step`: what so many single steps give, to the rounding of the dtype.
        Something may be compiled for each new number of batches.
        """


class Backend(Protocol):
    """A framework on one device, in one dtype, with a fixed number of threads. One per process.

    Its process ends when the harness closes its channel: nothing may keep it alive (a thread that
    is no daemon), and nothing of it may outlive it (a child process).
    """

    name: ClassVar[str]

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin device ("cpu", "cuda"), dtype ("float32", "float64"), threads, variant, precision.

        precision: "strict", or (float32 only) a profile whose products round their operands:
        "tf32", "bfloat16". threads: no more may compute; the process has as many processors as
        that from its start. Raises Unavailable where the framework, the device or the profile is
        missing (NoFloat64 where the device has none), in a sentence; whether a profile is in force
        is for the harness to prove.
        """

    def facts(self) -> dict[str, str]:
        """What is in force, not what was asked for: texts by name.

        At least "version:<package>" for what computes, "device", and "threads", a number (one for
        each library, separated by commas, where there are several); "precision:<mode>" as the
        library tells of itself.
        """

    def trainer(self, workload: Workload) -> Trainer:
        """A trainer for `workload`, its parameters not yet set.

        Raises ValueError, in one line that names it, where the workload's model, loss or optimiser
        is unknown: what is not known is never replaced by something similar.
        """

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value of the named operator, then its derivative by each floating argument, in order.

        The derivative is that of sum(weights * value); `weights` has the value's shape, all ones by
        default. Floating arguments are taken in the backend's dtype; integers (labels) stay
        integers and have no derivative. Names: "relu" is the framework's own operator,
        "relu/scratch" the book's expression for it; `harness/measure/operators.py` lists them,
        "matmul" every backend has. Raises Unavailable (with the reason) for an operator that the
        framework lacks, ValueError for a name that is none and for weights of another shape.
        """

    def peak_device_bytes(self) -> int | None:
        """Most bytes held on a device with memory of its own; None where it is the host's."""

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> Callable[[], None]:
        """A function that computes every a @ b of `pairs` on the device and waits for them.

        The operands are put on the device here, and outputs are preallocated where the framework
        can: calling the function times nothing but matrix products (the GEMM floor). Each call
        computes all of them anew.
        """
