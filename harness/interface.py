"""What a backend implements, and all that it may import from the harness.

Requirements on a backend, in short:

1. One `Backend` per process: it pins device, dtype, threads and precision, or raises `Unavailable`.
2. `trainer(workload)` builds the model the framework's own way and returns a `Trainer`.
3. `set_state` and `put` copy; whatever is returned is fresh, and nothing changes it later.
4. `step` is the very code that is timed; `wait` returns only when every queued update is done.
5. Nothing happens at import time: no global configuration, no change to the environment.

The docstrings below are the contract, method by method; docs/contract.md names, for each part of
it, the check of the conformance kit that sees it broken.

This module imports only the standard library, NumPy and msgspec.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import msgspec
import numpy.typing as npt

Array = npt.NDArray[Any]
# Named arrays: a model's state, a batch, gradients.
State = dict[str, Array]
# Of a model that learns no more numbers than these, every one's way through a training is kept.
MOST_DRAWN = 4
# FLOP of a step of some milliseconds.
LIGHT = 1e9


class Unavailable(Exception):
    """A backend cannot run here (framework missing, no such device); the message says why."""


class NoFloat64(Unavailable):
    """The device has no float64: lockstep cannot be judged there, and nothing else is wrong."""


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One array of a model's state: its canonical name, its shape, what it is, how it starts.

    Shapes are inputs x outputs, kernels height x width x inputs x outputs, whatever a framework
    has inside. role: "trained" (it has a gradient), "running" (a step's forward pass changes it:
    batch norm's mean), "optimiser" ("W1/velocity", "step").
    init: "normal" (standard normal x scale), "uniform" (from -scale to scale), "unit" (from 0 to
    scale), "values" (those of `values`, in C order), "zeros", "ones".
    axes: what each axis counts: entries of one name are the same units wherever it stands, and
    "25*units2" are 25 blocks of those units, one after another.
    """

    name: str
    shape: tuple[int, ...]
    role: Literal["trained", "running", "optimiser"] = "trained"
    init: Literal["normal", "uniform", "unit", "values", "zeros", "ones"] = "zeros"
    scale: float = 0.0
    values: tuple[float, ...] = ()
    axes: tuple[str, ...] = ()


class Optimiser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a step changes what is trained; workloads/reference/optimisers.py has the formulas.

    rule: "sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam", "adamw"; numbers: by name,
    those of the rule ("momentum", "beta1", "beta2", "eps", "rho", "decay").
    """

    rule: str
    lr: float
    numbers: dict[str, float] = {}


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One matrix product a @ b of a training step: shapes as stored, and which is transposed.

    bound: no step is faster than it. A convolution's is none: there are ways around it.
    """

    a: tuple[int, int]
    b: tuple[int, int]
    transposed: str = ""
    bound: bool = True

    @property
    def flop(self) -> int:
        """Floating-point operations: 2 m k n for (m, k) times (k, n)."""
        return 2 * self.a[0] * self.a[1] * self.b[0 if self.transposed == "b" else 1]


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a training comes to, and by how much two may differ.

    metric: "test accuracy" (the largest output is at the label), "binary accuracy" (the output
    exceeds .5 where the label is 1), "training loss" (mean of the last epoch) or "training
    accuracy" (over the last epoch's batches, each before its update). margin: of equivalence over
    seeds. band: where clean trainings of all epochs end on the real data.
    """

    metric: Literal["test accuracy", "binary accuracy", "training loss", "training accuracy"]
    margin: float
    band: tuple[float, float] | None = None


class Workload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is trained, framework-neutral: plain data, the same for every backend.

    name: what it is called; model: "my-net" is the file my_net.py of every framework's room,
    sizes: its model's keyword arguments. tensors: the state, in the order in which initial values
    are drawn. trace: named values along the forward pass, in order; the last are the outputs. x:
    the shape of one sample; y: what a target is: "class" (an integer), "number" (as many as
    outputs), "none".
    noise: random numbers that a batch brings, of one sample's shape each. outputs: shape of one
    sample's. batch_size: None is all rows, in file order. data: which source is loaded;
    normalise: mean and deviation that pixels are brought to 0 and 1 by; validation: so many of the
    last training rows are held out, and evaluated as the test set is.
    steps: a training has no more than the first so many, whatever is asked for; tests: so many of
    the first test samples are evaluated. None: all.
    loss and optimiser: what a backend must know, or refuse with ValueError.
    products: the matrix products of one step at the full batch size; those that bound it are the
    floor of its time.
    gradients_of: the norms of the gradients of so many first training rows are shown, before
    training and after every epoch.
    limits: "measured" by the judge on every batch, or the "table" of what many runs have shown.
    symmetries: axes whose units may be permuted without changing what is computed; one called
    "inputs" permutes the last axis of x with them.
    """

    name: str
    model: str
    sizes: dict[str, int]
    tensors: tuple[Tensor, ...]
    trace: tuple[str, ...]
    x: tuple[int, ...]
    y: Literal["class", "number", "none"]
    outputs: tuple[int, ...]
    loss: str
    optimiser: Optimiser
    batch_size: int | None
    epochs: int
    data: str
    normalise: tuple[float, float] | None = None
    validation: int = 0
    gradients_of: int = 0
    steps: int | None = None
    tests: int | None = None
    noise: tuple[Tensor, ...] = ()
    products: tuple[Product, ...] = ()
    symmetries: tuple[str, ...] = ()
    outcome: tuple[Outcome, ...] = ()
    limits: Literal["measured", "table"] = "measured"

    @property
    def floor(self) -> tuple[Product, ...]:
        """The products that no step is faster than."""
        return tuple(product for product in self.products if product.bound)

    @property
    def flop(self) -> int:
        """Floating-point operations of the floor."""
        return sum(product.flop for product in self.floor)

    @property
    def work(self) -> int:
        """Floating-point operations of all products, convolutions' too: a yardstick, no bound."""
        return sum(product.flop for product in self.products)

    @property
    def light(self) -> bool:
        """Whether a step takes little beside what surrounds it: compiling it, waiting for it."""
        return self.work <= LIGHT

    @property
    def trained(self) -> tuple[Tensor, ...]:
        """What has a gradient."""
        return tuple(tensor for tensor in self.tensors if tensor.role == "trained")

    @property
    def learnt(self) -> tuple[Tensor, ...]:
        """What a training is for: all but the optimiser's own numbers."""
        return tuple(tensor for tensor in self.tensors if tensor.role != "optimiser")

    @property
    def summed(self) -> bool:
        """Whether the loss is a sum over the batch: of a training its mean is told."""
        return self.loss == "half-squared-sum"

    @property
    def counts_training(self) -> bool:
        """Whether right answers are counted in every batch, before its update."""
        return any(outcome.metric == "training accuracy" for outcome in self.outcome)

    @property
    def tiny(self) -> bool:
        """Whether what is learnt is so few numbers that its way can be drawn."""
        return sum(math.prod(tensor.shape) for tensor in self.learnt) <= MOST_DRAWN

    @property
    def two_modes(self) -> bool:
        """Whether training and evaluation compute other outputs."""
        return bool(self.noise) or any(tensor.role == "running" for tensor in self.tensors)


class Trainer(Protocol):
    """One model with its whole state, on one device in one dtype.

    `Batch` and `Loss` are whatever the framework likes: the harness only hands them back. Several
    trainers of one backend may live side by side; none may touch another. An array that goes in is
    the caller's: it may be read only, in any layout in memory, and be written into as soon as the
    call has returned; none may be kept or changed. An array that comes out is NumPy's, fresh, and
    never changes afterwards. Arrays have the trainer's dtype, except labels.
    """

    def set_state(self, state: State) -> None:
        """Copy a whole state in, bit for bit; nothing of the one before is left.

        state: every tensor of the workload by its name and in its shape, optimiser's and running
        ones too, in the trainer's dtype, of any values. Counters and waiting gradients are what
        the state says: the same steps then give the same. Raises ValueError, in one line that names
        the tensor, where one is missing, unknown or of another shape; nothing is changed then.
        """

    def get_state(self) -> State:
        """Fresh copies of the whole state after every update that was queued, by name.

        What `set_state` took comes back bit for bit, in the workload's names and shapes.
        """

    def put(self, batch: State) -> Any:
        """Copy a batch to the device, bit for bit, finished on return.

        batch: "x" float (n, *x) in the trainer's dtype; "y", where the workload has targets:
        integers of any type (n,), classes from 0, or floats (n, *outputs); each noise by its name,
        float (n, *shape). n is any number from 1 up, and differs from batch to batch. Raises
        ValueError, in one line, for other names, shapes or kinds.
        """

    def fetch(self, batch: Any) -> State:
        """What the device holds of a batch, by the names `put` took, fresh copies; classes int64.

        Not what was handed to `put`, and not kept beside what is computed with.
        """

    def step(self, batch: Any) -> Any:
        """One update of the state; a handle on the mean loss *before* it.

        It may return before the update is done, and further steps may be queued behind it. This is
        the code that is timed: what it computes is the workload's model, loss and optimiser, and
        nothing else.
        """

    def wait(self, loss: Any) -> float:
        """Block until every queued update is done; the loss of the handle's own step.

        Handles may be waited for later and in any order. Nothing is left to compute or to copy for
        who reads the state next.
        """

    def outputs(self, batch: Any, *, training: bool) -> Array:
        """Outputs (n, *outputs) at the present state, which is left as it is.

        training: as a step computes them (by the batch's noise and statistics), or as they are
        when a model is evaluated.
        """

    def loss_and_grads(self, batch: Any) -> tuple[float, State]:
        """The loss of a step, and its gradient by each trained tensor, by name and in its shape.

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
        """As many updates as `batches`, finished on return; the loss before each.

        `batches` are what `put` returned, full and all of one size, taken in order. The updates
        are those of `step`: what so many single steps give, to the rounding of the dtype.
        Something may be compiled for each new number of batches.
        """


@runtime_checkable
class Traces(Trainer, Protocol):
    """A trainer that can show values inside its model; one that cannot has no `trace`."""

    def trace(self, batch: Any) -> State:
        """The values of `Workload.trace` that it can show, by name, as a step computes them.

        Each (n, ...) in the canonical layout: images rows x columns x channels. Nothing changes.
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
        """A trainer for `workload`, its state not yet set.

        Raises ValueError, in one line that names it, where the workload's name, loss or optimiser
        is unknown: what is not known is never replaced by something similar.
        """

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value of the named operator, then its derivative by each floating argument, in order.

        The derivative is that of sum(weights * value); `weights` has the value's shape, all ones by
        default. Floating arguments are taken in the backend's dtype; integers (labels) stay
        integers and have no derivative. Names: "relu" is the framework's own operator,
        "relu/scratch" the book's expression for it; `harness/measure/catalogue.py` lists them,
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


@runtime_checkable
class Applies(Backend, Protocol):
    """A backend that takes other people's functions as operators; one that does not has no such."""

    def apply(
        self, function: Callable[..., Any], *arrays: Array, weights: Array | None = None
    ) -> tuple[Array, ...]:
        """As `op`, of a function of the framework's own arrays in the backend's dtype.

        In a framework without derivatives the function gives its value, and a function from
        weights to the derivatives.
        """


class SingleOperator(Protocol):
    """One operator of somebody else's (entry points of the group `harness.operators`).

    ordinary: its arguments at ordinary points, floats in float64; special: at points of a name,
    each on its own (none: {}). functions: by framework MODULE:NAME of a function as `Applies` takes
    them; a backend with another name is asked for the operator by its own `op`.
    """

    ordinary: tuple[Array, ...]
    special: dict[str, tuple[Array, ...]]
    functions: dict[str, str]

    def truth(self, weights: Array, *arrays: Array) -> tuple[Array, ...]:
        """Value, then the derivative of sum(weights * value) by each float argument: float64.

        weights: of the value's shape, or a 1 alone where only the value counts.
        """
