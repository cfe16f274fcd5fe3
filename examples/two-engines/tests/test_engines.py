"""The two engines compute the same."""

import pytest
from duo import numpy_engine, torch_engine

from harness.testing import assert_same

X = "x=float32[8,64]"
FUNCTIONS = {
    "relu": X,
    "std": X,
    "softmax": X,
    "layer_norm": f"{X} weight=float32[64] bias=float32[64]",
    "scores": "q=float32[8,64] k=float32[5,64]",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_engines_compute_the_same(name):
    numpy, torch = getattr(numpy_engine, name), getattr(torch_engine, name)
    assert_same(numpy=numpy, torch=torch, like=FUNCTIONS[name])
