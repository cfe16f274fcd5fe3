"""What a library's own tests use: `from harness.testing import assert_agrees`.

The names come from `handles`, at first use: pytest loads the plug-in beside it in every project.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.testing.handles import assert_agrees

__all__ = ["assert_agrees"]


def __getattr__(name: str) -> Any:
    """A name of `harness.testing.handles`."""
    from harness.testing import handles

    return getattr(handles, name)
