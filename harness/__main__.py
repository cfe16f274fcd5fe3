"""The command `harness`, and `python -m harness`. Ctrl-C ends it in one line or none, ever."""

import os
import signal
import sys

INTERRUPTED_STATUS = 130


def main() -> None:
    """Load the command line, which takes a third of a second, and call it."""
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:  # nothing has begun: there is nothing to end in good order
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED_STATUS))
    from harness import cli

    try:
        if heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        cli.main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_STATUS)  # beyond the last line of what heeds it
    finally:
        # All is said and stored; what libraries do as the interpreter ends must not be cut off.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
