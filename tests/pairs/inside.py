"""Pairs of PyTorch's functions handed over as objects, in a process that has PyTorch: JSON.

    python -m tests.pairs.inside '{"name": ["numpy.softmax", "torch.softmax", "x=float32[8,64]"]}'

A side is the side's name and its function; two of one framework are "torch" and "torch_too".
"""

from __future__ import annotations

import json
import sys

import msgspec

import harness
from tests.pairs import in_torch, plain

PLACES = {"numpy": plain, "torch": in_torch, "torch_too": in_torch}


def main() -> None:
    found = {}
    for name, (one, other, like) in json.loads(sys.argv[1]).items():
        sides = {}
        for side in (one, other):
            place, _, function = side.partition(".")
            sides[place] = getattr(PLACES[place], function)
        found[name] = msgspec.to_builtins(harness.same(like=like, **sides))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
