"""Errors that end a command, each with the exit status it stands for. Imports nothing.

Every message is one line: what is wrong, where, and what to do about it.
"""

# Characters of a message: of a longer one the beginning, and so much of its end, are kept.
LONGEST, LONGEST_END = 1000, 300


class HarnessError(Exception):
    """The harness itself, or something it relies on, failed: exit status 3."""

    exit_status = 3

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        # What a file holds may stand in it: still a line that can be read.
        if len(line) > LONGEST:
            line = f"{line[: LONGEST - LONGEST_END]} … {line[-LONGEST_END:]}"
        super().__init__(line)


class InputError(HarnessError):
    """What the user gave cannot be used (arguments, files, data): exit status 2."""

    exit_status = 2
