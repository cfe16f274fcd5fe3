"""Screening gives the batch that a plain search finds, and refuses where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.workloads.reference.screening import screen


def search(order: list[int], start: int, stop: int, clear: list[bool]) -> list[int] | None:
    """Sample by sample: the next clear one after the batch, wrapping round, that is not in use."""
    rows = order[start:stop]
    at = stop
    looked = stop - start
    for place, row in enumerate(rows):
        if clear[row]:
            continue
        while True:
            if looked == len(order):
                return None
            candidate = order[at % len(order)]
            at, looked = at + 1, looked + 1
            if clear[candidate]:
                rows[place] = candidate
                break
    return rows


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[int], int, int, list[bool]]:
    n = draw(st.integers(1, 300))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    start = draw(st.integers(0, n - 1))
    stop = draw(st.integers(start + 1, n))
    share = draw(st.sampled_from([0.02, 0.3, 0.6, 0.9, 0.99, 1.0]))
    return rng.permutation(n).tolist(), start, stop, (rng.random(n) < share).tolist()


@given(batches())
@settings(max_examples=300)
def test_screening_gives_the_rows_that_a_plain_search_finds(
    batch: tuple[list[int], int, int, list[bool]],
) -> None:
    order, start, stop, mask = batch
    clear = np.array(mask)
    want = search(order, start, stop, mask)
    kept = np.array(order)
    if want is None:
        with pytest.raises(ValueError, match="could be replaced"):
            screen(kept, start, stop, lambda rows: clear[rows])
        return
    rows, replaced = screen(kept, start, stop, lambda rows: clear[rows])
    assert rows.tolist() == want
    assert rows.shape == (stop - start,)
    assert rows.dtype == kept.dtype
    assert len(set(rows.tolist())) == len(rows)
    assert clear[rows].all()
    assert replaced == np.count_nonzero(~clear[order[start:stop]])
    assert kept.tolist() == order


def test_a_clear_batch_stays_as_it_is_and_shares_no_memory_with_the_order() -> None:
    order = np.arange(10)
    rows, replaced = screen(order, 2, 5, lambda rows: np.ones(len(rows), bool))
    assert replaced == 0
    rows[:] = -1
    assert order.tolist() == list(range(10))
