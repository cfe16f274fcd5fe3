"""An error in one line: the line of its text that names the reason, whoever wrote it."""

from __future__ import annotations

import pytest

from harness.text import described

# Texts as the frameworks write them: TensorFlow 2.21 and Keras 3.15, torch 2.13, JAX 0.10.
AUTOGRAPH = """in user code:

    File "/room/net.py", line 22, in forward  *
        H = tf.reshape(H, (-1, 33)) * mask
    File "/site-packages/keras/src/utils/traceback_utils.py", line 122, in error_handler  **
        raise e.with_traceback(filtered_tb) from None

    {reason}
"""
GRAPH = """Graph execution error:

Detected at node Reshape defined at (most recent call last):
  File "/room/net.py", line 17, in <module>

  File "/room/net.py", line 16, in forward

Input to reshape is a tensor with 20 values, but the requested shape has 24
\t [[{{node Reshape}}]] [Op:__inference_forward_27]"""
XLA = """Input to reshape is a tensor with 20 values, but the requested shape has 24

Stack trace for op definition:\x20
File "room/net.py", line 19, in <module>

\t [[{{node Reshape}}]]
\ttf2xla conversion failed while converting __inference_forward_39[_XlaMustCompile=true]"""
KERAS = """Exception encountered when calling Wide.call().

\x1b[1mMatrix size-incompatible: In[0]: [4,5], In[1]: [6,3] [Op:MatMul] name: \x1b[0m

Arguments received by Wide.call():
  • x=tf.Tensor(shape=(4, 5), dtype=float32)"""
LOADING = """Error(s) in loading state_dict for Linear:
\tsize mismatch for weight: copying a param with shape torch.Size([2, 2])."""
COMPILE = """RuntimeError when making fake tensor call
  Explanation: Dynamo failed to run FX node: got RuntimeError('a and b must have same dim')
  Hint: Your code may result in an error when running in eager.

from user code:
   File "/room/net.py", line 13, in forward"""
SCAN = """scan body function carry input and carry output must have equal types, but they differ:

The input carry c has type float32[] but the output carry has type float16[].

Revise the function so that all output types match the corresponding input types."""
TRACED = """Attempted boolean conversion of traced array with shape bool[].
The error occurred while tracing the function step at /room/net.py:19 for jit."""


KINDS = AUTOGRAPH.format(reason="ValueError: two\n    lines")
LAYER = AUTOGRAPH.format(
    reason="ValueError: Exception encountered when calling Wide.call().\n    \n"
    "    \x1b[1mDimensions must be equal.\x1b[0m\n    \n    Arguments received:"
)
RESHAPE = "Input to reshape is a tensor with 20 values, but the requested shape has 24"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (KINDS, "two"),
        (AUTOGRAPH.format(reason="KeyError: 'W9'"), "KeyError: 'W9'"),
        (LAYER, "Dimensions must be equal."),
        (GRAPH, RESHAPE),
        (XLA, RESHAPE),
        (KERAS, "Matrix size-incompatible: In[0]: [4,5], In[1]: [6,3] [Op:MatMul] name:"),
        (LOADING, LOADING.replace("\n\t", " ")),
        (COMPILE, COMPILE.partition("\n  Hint")[0].replace("\n ", "")),
        (SCAN, SCAN.partition("\n\nRevise")[0].replace("\n\n", " ")),
        (TRACED, TRACED.partition("\n")[0]),
        ("mat1 and mat2\n", "mat1 and mat2"),
        ("in user code:", "in user code:"),
        ("the shapes are:\n", "the shapes are:"),
        ('  File "a.py", line 3\nis no model', 'File "a.py", line 3'),
    ],
)
def test_the_line_that_names_the_reason_is_told(text: str, reason: str) -> None:
    assert described(ValueError(text)) == f"ValueError: {reason}"


@pytest.mark.parametrize("error", [ValueError(), ValueError("\n \n"), ValueError("\x1b[0m")])
def test_an_error_without_words_is_told_by_its_kind(error: Exception) -> None:
    assert described(error) == "ValueError"


def test_an_error_that_cannot_be_told_is_told_by_its_kind() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise TypeError

    assert described(Mute()) == "Mute"
    assert len(described(ValueError("x" * 10_000))) < 600
