"""What every backend refuses, in the same words; each function raises ValueError in one line.

Other people's backends may import it too. Imports no framework; from the harness it may import
`interface` only.
"""

from __future__ import annotations

from collections.abc import Collection

from backends import BACKENDS, PRECISIONS
from harness.interface import Array, Params, Unavailable, Workload

DTYPES = ("float32", "float64")
# What the harness asks `op` for; of each but "matmul" there is also "<name>/scratch".
OPERATORS = (
    *("matmul", "relu", "sigmoid", "tanh", "softmax", "log_softmax"),
    *("cross_entropy", "squared_error"),
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


def check_workload(name: str, workload: Workload) -> None:
    """The model, loss and optimiser of `workload` are those that the built-in backends know."""
    for what, value, known in (
        ("model", workload.model, "MLPScratch"),
        ("loss", workload.loss, "softmax-cross-entropy"),
        ("optimiser", workload.optimiser, "sgd"),
    ):
        if value != known:
            raise ValueError(f"{name}: unknown {what} {value!r}; known: {known}")


def check_params(params: Params, workload: Workload) -> None:
    """`params` has exactly the workload's names, each with its shape."""
    shapes = {parameter.name: parameter.shape for parameter in workload.parameters}
    for word, names in (("missing", shapes.keys() - params), ("unknown", params.keys() - shapes)):
        if names:
            raise ValueError(f"parameters: {word} {', '.join(sorted(names))}")
    for name, shape in shapes.items():
        if params[name].shape != shape:
            raise ValueError(f"parameter {name}: shape {params[name].shape}, expected {shape}")


def check_batch(x: Array, y: Array, num_inputs: int) -> None:
    """x: (n, num_inputs), y: integers (n,)."""
    if x.ndim != 2 or x.shape[1] != num_inputs:
        raise ValueError(f"batch: x has shape {x.shape}, expected (n, {num_inputs})")
    if y.shape != x.shape[:1]:
        raise ValueError(f"batch: y has shape {y.shape}, expected {x.shape[:1]}, one label a row")
    if y.dtype.kind not in "iu":
        raise ValueError(f"batch: y has dtype {y.dtype}, expected integers")
