"""The table of built-in backends: what each is called, what it needs, what it can do.

Imports no framework and no backend; a worker loads `Entry.source` in a process of its own, with
`Entry.environment` in place. Other people's backends are described by `harness/plan/plugins.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# What float32 products do with their operands: nothing; round them to TensorFloat-32 (10 explicit
# bits of significand); round them to bfloat16 (7). Sums stay in float32.
PRECISIONS = ("strict", "tf32", "bfloat16")

BUILT_IN = "built in"

# glibc gives blocks of 32 MB and more back to the system when they are freed, and takes them anew,
# page by page, for the next step: with 4096 hidden units and batches of 1024 a JAX step took 90 ms
# and takes 76 ms when they are kept.
KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**32)}

# OpenBLAS' helper threads spin for some 30 ms after a product and slow the next backend down by up
# to 1.8 times; 2**4 cycles of spinning cure it at no cost (TIMING.md).
STILL_BLAS = {"OPENBLAS_THREAD_TIMEOUT": "4"}


@dataclass(frozen=True)
class Entry:
    """A backend, as far as it can be told without importing it or its framework.

    name: what the command line calls it.
    source: where its class is: MODULE:CLASS, or FILE:CLASS with the file's absolute path.
    extra: the extra of this project that installs it ("" where it is always there).
    package: top-level packages it imports; it is missing where one of them is not found.
    distributions: the names under which their versions are listed, where installed.
    variants: ways of executing the same mathematics, the default first.
    variant_devices: by variant, where it exists; one not named here exists on all of `devices`.
    devices: where it can run.
    precisions: by device, the reduced profiles its library may have there, beside "strict". That a
        mode is in force is proven by a probe in its process, not told here.
    environment: variables its process needs before the library loads.
    origin: "built in", or how a plug-in was found; of a plug-in variants, devices and precisions
        are not known here: its own process refuses what it does not have.
    """

    name: str
    source: str
    extra: str
    package: tuple[str, ...]
    distributions: tuple[str, ...]
    variants: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu", "cuda")
    variant_devices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    precisions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    origin: str = BUILT_IN

    @property
    def plug_in(self) -> bool:
        """Whether it is somebody else's."""
        return self.origin != BUILT_IN

    def lacks(self, device: str, precision: str) -> str | None:
        """Why this backend has no such profile on a device; None where it may have it."""
        possible = ("strict", *self.precisions.get(device, ()))
        if precision in possible or self.plug_in:
            return None
        return f"{self.name} has no {precision} products on {device}, only {', '.join(possible)}"

    def lacks_variant(self, variant: str, device: str) -> str | None:
        """Why this backend's variant does not exist on a device; None where it does."""
        possible = self.variant_devices.get(variant, self.devices)
        if device in possible or self.plug_in:
            return None
        return f"{self.name} has no {variant} on {device}, only on {', '.join(possible)}"


_ENTRIES = (
    Entry(
        name="numpy",
        source="backends.numpy:Backend",
        extra="",
        package=("numpy",),
        distributions=("numpy",),
        variants=("buffered", "plain"),
        devices=("cpu",),
        environment=STILL_BLAS,
    ),
    Entry(
        name="torch",
        source="backends.torch:Backend",
        extra="torch",
        package=("torch",),
        distributions=("torch",),
        variants=("eager", "compile", "cuda-graph"),
        variant_devices={"cuda-graph": ("cuda",)},
        # On a CPU: oneDNN's implicit conversions, which need AMX. On CUDA there is no setting that
        # rounds float32 operands to bfloat16.
        precisions={"cpu": ("tf32", "bfloat16"), "cuda": ("tf32",)},
        # torch.compile compiles in its own process: no pool of helpers lives on beside the timing.
        # Its cache is a folder of the run's scratch folder, where workers live: a first step never
        # depends on what an earlier run left behind, and nothing is left behind.
        environment={"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": "inductor"},
    ),
    Entry(
        name="jax",
        source="backends.jax:Backend",
        extra="jax",
        package=("jax", "flax", "optax"),
        distributions=("jax", "jaxlib", "flax", "optax"),
        variants=("jit", "scan"),
        # XLA computes in float32 on a CPU, whatever algorithm is asked for.
        precisions={"cuda": ("tf32", "bfloat16")},
        # On a GPU, JAX would otherwise take three quarters of the memory at its first use.
        environment={"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | KEPT_MEMORY,
    ),
    Entry(
        name="tensorflow",
        source="backends.tensorflow:Backend",
        extra="tensorflow",
        package=("tensorflow",),
        distributions=("tensorflow", "tensorflow-cpu"),
        variants=("xla", "graph", "eager"),
        precisions={"cuda": ("tf32",)},
        # Without the first a dozen lines of advice about CPU flags and absent GPUs bury a real
        # error; without the second layers of tf.keras are what the user's keras.json says.
        environment={"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"},
    ),
)

BACKENDS: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
