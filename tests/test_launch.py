"""What a worker inherits: the parent's environment, less what would change numbers or threads."""

from __future__ import annotations

import pytest

from harness.workers.launch import environment

# One of each kind that is removed.
NAMES = (
    *("ATEN_CPU_CAPABILITY", "BLIS_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "CUBLASLT_LOG_LEVEL"),
    *("CUDA_LAUNCH_BLOCKING", "CUDNN_LOGINFO_DBG", "DNNL_MAX_CPU_ISA", "FLAX_PROFILE"),
    *("GLIBC_TUNABLES", "GOMP_CPU_AFFINITY", "GOTO_NUM_THREADS", "JAX_PLATFORMS", "KERAS_BACKEND"),
    *("KMP_AFFINITY", "LIBTPU_INIT_ARGS", "MALLOC_ARENA_MAX", "MKL_CBWR", "MXNET_EXEC_NUM_TEMP"),
    *("NPY_DISABLE_CPU_FEATURES", "NUMEXPR_MAX_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_DYNAMIC"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "OPENBLAS_CORETYPE", "PYTHONINSPECT", "PYTHONOPTIMIZE"),
    *("PYTHONSTARTUP", "PYTHONWARNINGS", "PYTORCH_JIT", "TF2_BEHAVIOR", "TF_ENABLE_ONEDNN_OPTS"),
    *("TORCHDYNAMO_DISABLE", "TORCH_LOGS", "VECLIB_MAXIMUM_THREADS", "XLA_FLAGS"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_that_changes_numbers_or_threads_does_not_reach_a_worker(monkeypatch, name):
    monkeypatch.setenv(name, "planted")
    assert environment(2, {}).get(name) != "planted"


def test_other_variables_and_the_plans_own_do(monkeypatch):
    monkeypatch.setenv("LANG", "C")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    found = environment(2, {"OPENBLAS_THREAD_TIMEOUT": "4"})
    assert found["LANG"] == "C"
    assert found["OMP_NUM_THREADS"] == found["OPENBLAS_NUM_THREADS"] == "2"
    assert found["OPENBLAS_THREAD_TIMEOUT"] == "4"
    assert found["NVIDIA_TF32_OVERRIDE"] == "0"
