"""The table of built-in backends: what each is called, what it needs, what it can do.

Imports no framework and no backend; a worker imports `Entry.module` in a process of its own, after
it has put `Entry.environment` in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """A built-in backend, as far as it can be told without importing its framework.

    name: what the command line calls it.
    module: the module with its `Backend` and `Trainer`.
    extra: the extra of this project that installs it ("" where it is always there).
    package: top-level packages it imports; it is missing where one of them is not found.
    distributions: the names under which their versions are listed, where installed.
    variants: ways of executing the same mathematics, the default (the fastest measured) first.
    devices: where it can run.
    environment: variables its process needs before the library loads.
    """

    name: str
    module: str
    extra: str
    package: tuple[str, ...]
    distributions: tuple[str, ...]
    variants: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu", "cuda")
    environment: dict[str, str] = field(default_factory=dict)


_ENTRIES = (
    Entry(
        name="numpy",
        module="backends.numpy",
        extra="",
        package=("numpy",),
        distributions=("numpy",),
        variants=("buffered",),
        devices=("cpu",),
        # OpenBLAS' helper threads spin for some 30 ms after a product and slow the next backend
        # down by up to 1.8 times; 2**4 cycles of spinning cure it at no cost (TIMING.md).
        environment={"OPENBLAS_THREAD_TIMEOUT": "4"},
    ),
    Entry(
        name="torch",
        module="backends.torch",
        extra="torch",
        package=("torch",),
        distributions=("torch",),
        variants=("eager",),
    ),
    Entry(
        name="jax",
        module="backends.jax",
        extra="jax",
        package=("jax", "flax", "optax"),
        distributions=("jax", "jaxlib", "flax", "optax"),
        variants=("jit",),
        # On a GPU, JAX would otherwise take three quarters of the memory at its first use.
        environment={"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
    ),
    Entry(
        name="tensorflow",
        module="backends.tensorflow",
        extra="tensorflow",
        package=("tensorflow",),
        distributions=("tensorflow", "tensorflow-cpu"),
        variants=("xla", "graph"),
        # Without it a dozen lines of advice about CPU flags and absent GPUs bury a real error.
        environment={"TF_CPP_MIN_LOG_LEVEL": "2"},
    ),
)

BACKENDS: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
