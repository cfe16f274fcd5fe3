"""Errors that end a command, each with the exit status it stands for. Imports nothing.

Every message is one line: what is wrong, where, and what to do about it.
"""


class HarnessError(Exception):
    """The harness itself, or something it relies on, failed: exit status 3."""

    exit_status = 3

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class InputError(HarnessError):
    """What the user gave cannot be used (arguments, files, data): exit status 2."""

    exit_status = 2
