"""What every backend refuses, in the same words; each function raises ValueError in one line.

Other people's backends may import it too. Imports no framework; from the harness it may import
`interface` only.
"""

from __future__ import annotations

from collections.abc import Collection

from backends import BACKENDS, PRECISIONS
from harness.interface import State, Unavailable, Workload

DTYPES = ("float32", "float64")
# What the harness asks `op` for; of some there is also "<name>/scratch".
OPERATORS = (
    *("matmul", "step", "relu", "sigmoid", "tanh", "gelu", "gelu_tanh", "softmax", "log_softmax"),
    *("cross_entropy", "softmax_log_nll", "squared_error", "entropy", "sum", "mean", "norm"),
    *("perceptron", "perceptron_two", "chain", "conv", "max_pool", "avg_pool", "avg_pool_inside"),
    *("batch_norm", "batch_norm_evaluation", "batch_norm_running", "dropout", "layer_norm"),
)


def check_backend(
    name: str, device: str, dtype: str, threads: int, variant: str, precision: str
) -> None:
    """The arguments of `Backend`, against the table; Unavailable for what a device never has."""
    entry = BACKENDS[name]
    for what, value, known in (
        ("device", device, entry.devices),
        ("dtype", dtype, DTYPES),
        ("variant", variant, entry.variants),
        ("precision", precision, PRECISIONS),
    ):
        if value not in known:
            raise ValueError(f"{name}: unknown {what} {value!r}; known: {', '.join(known)}")
    if threads < 1:
        raise ValueError(f"{name}: threads must be at least 1, got {threads}")
    if precision != "strict" and dtype != "float32":
        raise ValueError(f"{name}: {precision} is for float32 products, not for {dtype}")
    lacking = entry.lacks(device, precision) or entry.lacks_variant(variant, device)
    if lacking is not None:
        raise Unavailable(lacking)


def check_plug_in(
    name: str,
    device: str,
    dtype: str,
    threads: int,
    variant: str,
    precision: str,
    *,
    devices: tuple[str, ...] = ("cpu",),
    variants: tuple[str, ...] = ("default",),
    precisions: tuple[str, ...] = ("strict",),
) -> None:
    """The arguments of a `Backend` that is not in the table; Unavailable for what it has not."""
    if dtype not in DTYPES:
        raise ValueError(f"{name}: unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    if threads < 1:
        raise ValueError(f"{name}: threads must be at least 1, got {threads}")
    for what, value, possible in (
        ("device", device, devices),
        ("variant", variant, variants),
        ("precision", precision, precisions),
    ):
        if value not in possible:
            raise Unavailable(f"{name} has no {what} {value!r}, only {', '.join(possible)}")


def check_operator(name: str, operator: str, known: Collection[str]) -> None:
    """`operator` is one of those `known`; Unavailable for another that the harness may ask for."""
    if operator.removesuffix("/scratch") not in OPERATORS:
        raise ValueError(f"unknown operator {operator!r}; known: {', '.join(OPERATORS)}")
    if operator not in known:
        raise Unavailable(f"{name} has no operator {operator}")


def check_workload(
    name: str, workload: Workload, losses: Collection[str], rules: Collection[str]
) -> None:
    """The loss and the optimiser's rule are among those that a backend knows.

    name: the backend's. A built-in one's loss is its room's: see `rooms.find`.
    """
    for what, value, known in (
        ("loss", workload.loss, losses),
        ("optimiser", workload.optimiser.rule, rules),
    ):
        check_known(name, what, value, known)


def check_known(name: str, what: str, value: str, known: Collection[str]) -> None:
    """`value` is one of those that the backend `name` knows."""
    if value not in known:
        raise ValueError(f"{name}: unknown {what} {value!r}; known: {', '.join(known)}")


def check_state(state: State, workload: Workload) -> None:
    """`state` has exactly the workload's tensors, each with its shape."""
    shapes = {tensor.name: tensor.shape for tensor in workload.tensors}
    for word, names in (("missing", shapes.keys() - state), ("unknown", state.keys() - shapes)):
        if names:
            raise ValueError(f"state: {word} {', '.join(sorted(names))}")
    for name, shape in shapes.items():
        if state[name].shape != shape:
            raise ValueError(f"state: {name} has shape {state[name].shape}, expected {shape}")


def check_batch(batch: State, workload: Workload) -> None:
    """`batch` has exactly what the workload's batches have, as many samples of each."""
    shapes: dict[str, tuple[int, ...]] = {"x": workload.x}
    if workload.y != "none":
        shapes["y"] = () if workload.y == "class" else workload.outputs
    shapes |= {tensor.name: tensor.shape for tensor in workload.noise}
    for word, names in (("missing", shapes.keys() - batch), ("unknown", batch.keys() - shapes)):
        if names:
            raise ValueError(f"batch: {word} {', '.join(sorted(names))}")
    for name, shape in shapes.items():
        got, n = batch[name].shape, batch["x"].shape[:1]
        if not n or got != (*n, *shape):
            expected = ", ".join(map(str, ("n", *shape)))
            raise ValueError(f"batch: {name} has shape {got}, expected ({expected})")
        kinds = "iu" if name == "y" and workload.y == "class" else "f"
        if batch[name].dtype.kind not in kinds:
            wanted = "integers" if kinds == "iu" else "floats"
            raise ValueError(f"batch: {name} has dtype {batch[name].dtype}, expected {wanted}")
