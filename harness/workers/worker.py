"""What runs inside a framework's process: a small server whose commands are those of one desk.

Its parent names the desk (see `harness/workers/desks/`); it does what it is asked, one command at
a time, and judges nothing. Imports msgspec and what that desk imports.
"""

from __future__ import annotations

import traceback

import msgspec

from harness.interface import NoFloat64, Unavailable
from harness.text import described
from harness.workers.channel import receive, send
from harness.workers.loading import load_object


def serve(commands: int, replies: int, run: str, desk: str, started_ns: int) -> None:
    """Answer commands until the parent closes the channel. Every reply names the run.

    desk: MODULE:CLASS; started_ns: when this process began.
    """
    encode = msgspec.json.encode
    current = 0

    def progress(done: int, total: int) -> None:
        send(replies, encode({"run": run, "id": current, "progress": [done, total]}))

    opened = load_object(desk)(started_ns, progress)
    while (message := receive(commands)) is not None:
        command = msgspec.json.decode(message)
        current = command.pop("id")
        name = command.pop("do")
        answered = {"run": run, "id": current}
        try:
            answer = encode(answered | {"ok": getattr(opened, name)(**command)})
        except (Unavailable, ImportError) as error:
            failure = {
                "error": described(error),
                "unavailable": name == "start",
                "no_float64": isinstance(error, NoFloat64),
            }
            answer = encode(answered | failure)
        except BaseException as error:  # whatever a backend raises, SystemExit too, is the answer
            traceback.print_exc()
            answer = encode(answered | {"error": described(error)})
        send(replies, answer)
