"""Plug-ins that answer with something else than what they were asked for."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from well import Backend, NumPyTrainer, replying

from harness.workers.channel import send

Message = dict[str, Any]


def encoded(change: Callable[[Message], Any]) -> Callable[[int, bytes], None]:
    """Send what `change` makes of a message."""

    def spoil(descriptor: int, message: bytes) -> None:
        send(descriptor, msgspec.json.encode(change(msgspec.json.decode(message))))

    return spoil


def raw(change: Callable[[bytes], bytes]) -> Callable[[int, bytes], None]:
    """Write bytes, with no length but what is in them."""
    return lambda descriptor, message: void(os.write(descriptor, change(message)))


def void(_: object) -> None: ...


def twice(descriptor: int, message: bytes) -> None:
    send(descriptor, message)
    send(descriptor, message)


def every_descriptor(descriptor: int, message: bytes) -> None:
    """Write to whatever is open, and so to the pipe that the answers go through."""
    for each in map(int, os.listdir("/proc/self/fd")):
        try:
            os.write(each, b"all is well\n" * 10)
        except OSError:
            continue
    send(descriptor, message)


def not_a_number(descriptor: int, message: bytes) -> None:
    run = msgspec.json.encode(msgspec.json.decode(message)["run"])
    send(descriptor, b'{"run": %s, "id": NaN, "ok": {}}' % run)


def only(message: Message, **more: Any) -> Message:
    return {"run": message["run"], "id": message["id"]} | more


SPOILED: dict[str, Callable[[int, bytes], None]] = {
    "AnotherRun": encoded(lambda m: m | {"run": "20200101T000000-abcdef"}),
    "AnotherCommand": encoded(lambda m: m | {"id": m["id"] + 7}),
    "Twice": twice,
    "NotANumber": not_a_number,
    "OfText": encoded(lambda m: m | {"id": "3"}),
    "Deep": lambda descriptor, _: send(descriptor, b'{"ok": ' * 200_000),
    "AList": encoded(lambda _: [1, 2, 3]),
    "Nothing": encoded(only),
    "Unknown": encoded(lambda m: m | {"verdict": "agree"}),
    # An error of megabytes that would steer a terminal.
    "Shouts": encoded(lambda m: only(m, error="\x1b[2J\u202e all \n" * 200_000)),
    "FourGigabytes": raw(lambda message: struct.pack("<I", 2**32 - 1) + message),
    "CutOff": raw(lambda message: struct.pack("<I", len(message) + 1000) + message),
    "EveryDescriptor": every_descriptor,
}


class Spoils(Backend):
    """Changes its messages once it trains; the first two are answers to `start` and `data`."""

    def trainer(self, workload: Any) -> NumPyTrainer:
        replying(self._sends)
        self._sent = 0
        return super().trainer(workload)

    def _sends(self, descriptor: int, message: bytes) -> None:
        self._sent += 1
        change = send if self._sent < 3 else SPOILED[type(self).__name__]
        change(descriptor, message)


class Unprepared(Backend):
    """Answers before it was asked."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)

        def early(descriptor: int, message: bytes) -> None:
            send(descriptor, message)
            encoded(lambda m: m | {"id": m["id"] + 1, "ok": {}})(descriptor, message)

        replying(early)


class Forks(Backend):
    """There are two of it from now on, and both answer."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        os.fork()


# -- tensors -----------------------------------------------------------------------------------

GIVEN: dict[str, Callable[[Any], Any]] = {
    "Objects": lambda outputs: outputs.astype(object),
    "Texts": lambda outputs: outputs.astype(str),
    "Vast": lambda outputs: np.broadcast_to(outputs[0, 0], (10**6, 10**7)),
    "Scalar": lambda outputs: outputs.sum(),
    "Empty": lambda outputs: outputs[:0],
    "Whole": lambda outputs: outputs.astype(np.int8),
}


class Gives(Backend):
    """Outputs of another kind."""

    def trainer(self, workload: Any) -> NumPyTrainer:
        made, change = super().trainer(workload), GIVEN[type(self).__name__]
        outputs = made.outputs
        made.outputs = lambda batch, training: change(outputs(batch, training=training))
        return made


def sparse(path: str, _: object) -> None:
    """Four gigabytes that take no room."""
    with open(path, "wb") as file:
        file.truncate(4 * 10**9)


# A pipe: whoever reads that answer waits for ever.
SAVED = {"Large": sparse, "APipe": lambda path, _: os.mkfifo(path)}


class Saves(Backend):
    """Something else lies where its tensors should."""

    def trainer(self, workload: Any) -> NumPyTrainer:
        from harness.workers.desks import training

        training.save_tensors = SAVED[type(self).__name__]
        return super().trainer(workload)


for base, table in ((Spoils, SPOILED), (Gives, GIVEN), (Saves, SAVED)):
    globals().update({name: type(name, (base,), {}) for name in table})


class WordyLoss(Backend):
    class Trainer(NumPyTrainer):
        def wait(self, loss: Any) -> Any:
            return "about two"


class LotsOfMemory(Backend):
    def peak_device_bytes(self) -> Any:
        return "lots"


class Facts(Backend):
    """Facts of every kind, and too many of them."""

    def facts(self) -> Any:
        return (
            super().facts()
            | {1: b"\x00", ("a",): None, "x" * 10**6: "y" * 10**6, "\x1b[2J": "\u202e\ud800\n"}
            | {f"fact {number}": "z" * 200 for number in range(20_000)}
        )


class NoFacts(Backend):
    def facts(self) -> Any:
        return None
