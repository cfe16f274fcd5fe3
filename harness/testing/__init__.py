"""What a library's own tests use: `from harness.testing import assert_agrees, assert_same`.

They come from their modules at their first use: pytest loads the plug-in beside them in every
project.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.testing.assertion import assert_agrees
    from harness.testing.pair import assert_same

__all__ = ["assert_agrees", "assert_same"]


def __getattr__(name: str) -> Any:
    """A name of `__all__`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness.testing import assertion, pair

    return getattr(pair if name == "assert_same" else assertion, name)
