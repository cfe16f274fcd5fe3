"""`assert_same`: two functions compute the same, or the message names where they do not.

Imports no framework, and no pytest.
"""

from __future__ import annotations

from typing import Any

from harness.pair.document import SAME, Same
from harness.pair.same import same
from harness.report.same import lines


def assert_same(**words: Any) -> Same:
    """AssertionError unless two functions compute the same, bit for bit or to rounding.

    words: those of `harness.same`: assert_same(numpy=f, torch=g, args={"x": x}). The message names
    the answer, the first element or special point that differs, what each side gives there, and the
    limit. What was asked and found is given back.
    """
    __tracebackhide__ = True
    found = same(**words)
    if found.answer not in SAME:
        raise AssertionError("\n".join(lines(found)))
    return found
