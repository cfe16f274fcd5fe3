"""Plug-ins that answer with something else than what they were asked for."""

from __future__ import annotations

import os
import struct
from typing import Any

import msgspec
import numpy as np
from well import Backend, NumPyTrainer, replying

from harness.workers.channel import send


def wrote(descriptor: int, data: bytes) -> None:
    """Without a length: nothing but these bytes."""
    os.write(descriptor, data)


class Spoils(Backend):
    """Changes its messages once it trains; the first two are answers to `start` and `data`."""

    def trainer(self, workload: Any) -> NumPyTrainer:
        replying(self._sends)
        self._sent = 0
        return super().trainer(workload)

    def _sends(self, descriptor: int, message: bytes) -> None:
        self._sent += 1
        if self._sent < 3:
            send(descriptor, message)
        else:
            self.spoil(descriptor, message)

    def spoil(self, descriptor: int, message: bytes) -> None:
        raise NotImplementedError


class AnotherRun(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        reply = msgspec.json.decode(message) | {"run": "20200101T000000-abcdef"}
        send(descriptor, msgspec.json.encode(reply))


class AnotherCommand(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        reply = msgspec.json.decode(message)
        send(descriptor, msgspec.json.encode(reply | {"id": reply["id"] + 7}))


class Twice(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        send(descriptor, message)
        send(descriptor, message)


class NotANumber(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        run = msgspec.json.encode(msgspec.json.decode(message)["run"])
        send(descriptor, b'{"run": %s, "id": NaN, "ok": {}}' % run)


class OfText(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        send(descriptor, msgspec.json.encode(msgspec.json.decode(message) | {"id": "3"}))


class Deep(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        send(descriptor, b'{"ok": ' * 200_000)


class AList(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        send(descriptor, b"[1, 2, 3]")


class Nothing(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        reply = msgspec.json.decode(message)
        send(descriptor, msgspec.json.encode({"run": reply["run"], "id": reply["id"]}))


class Unknown(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        send(descriptor, msgspec.json.encode(msgspec.json.decode(message) | {"verdict": "agree"}))


class Shouts(Spoils):
    """An error of megabytes that would steer a terminal."""

    def spoil(self, descriptor: int, message: bytes) -> None:
        reply = msgspec.json.decode(message)
        told = {"run": reply["run"], "id": reply["id"], "error": "\x1b[2J\u202e all \n" * 200_000}
        send(descriptor, msgspec.json.encode(told))


class FourGigabytes(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        wrote(descriptor, struct.pack("<I", 2**32 - 1) + message)


class CutOff(Spoils):
    def spoil(self, descriptor: int, message: bytes) -> None:
        wrote(descriptor, struct.pack("<I", len(message) + 1000) + message)


class EveryDescriptor(Spoils):
    """Writes to whatever is open, and finds the pipe that its answers go through."""

    def spoil(self, descriptor: int, message: bytes) -> None:
        for each in map(int, os.listdir("/proc/self/fd")):
            try:
                os.write(each, b"all is well\n" * 10)
            except OSError:
                continue
        send(descriptor, message)


class Unprepared(Backend):
    """Answers before it was asked."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)

        def early(descriptor: int, message: bytes) -> None:
            send(descriptor, message)
            reply = msgspec.json.decode(message)
            send(descriptor, msgspec.json.encode(reply | {"id": reply["id"] + 1, "ok": {}}))

        replying(early)


class Forks(Backend):
    """There are two of it from now on, and both answer."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        os.fork()


# -- tensors -----------------------------------------------------------------------------------


class Gives(NumPyTrainer):
    """Logits of another kind."""

    def logits(self, batch: Any) -> Any:
        return self.given(super().logits(batch))

    def given(self, logits: Any) -> Any:
        raise NotImplementedError


class Objects(Backend):
    class Trainer(Gives):
        def given(self, logits: Any) -> Any:
            return logits.astype(object)


class Texts(Backend):
    class Trainer(Gives):
        def given(self, logits: Any) -> Any:
            return logits.astype(str)


class Vast(Backend):
    class Trainer(Gives):
        def given(self, logits: Any) -> Any:
            return np.broadcast_to(logits[0, 0], (10**6, 10**7))


class Large(Backend):
    """A file of four gigabytes that takes no room."""

    def trainer(self, workload: Any) -> NumPyTrainer:
        from harness.workers.desks import training

        def sparse(path: str, tensors: Any) -> None:
            with open(path, "wb") as file:
                file.truncate(4 * 10**9)

        training.save_tensors = sparse
        return super().trainer(workload)


class APipe(Backend):
    """Whoever reads its answer waits for ever."""

    def trainer(self, workload: Any) -> NumPyTrainer:
        from harness.workers.desks import training

        training.save_tensors = lambda path, tensors: os.mkfifo(path)
        return super().trainer(workload)


class Scalar(Backend):
    class Trainer(Gives):
        def given(self, logits: Any) -> Any:
            return logits.sum()


class Empty(Backend):
    class Trainer(Gives):
        def given(self, logits: Any) -> Any:
            return logits[:0]


class Whole(Backend):
    class Trainer(Gives):
        def given(self, logits: Any) -> Any:
            return logits.astype(np.int8)


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
