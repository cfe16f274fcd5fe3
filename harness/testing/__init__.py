"""What a library's own tests use: `from harness.testing import assert_agrees`.

It comes from `assertion` at its first use: pytest loads the plug-in beside it in every project.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.testing.assertion import assert_agrees

__all__ = ["assert_agrees"]


def __getattr__(name: str) -> Any:
    """A name of `__all__`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness.testing import assertion

    return getattr(assertion, name)
