"""Memory of batches that is given out again, and never while somebody looks at it."""

from __future__ import annotations

import pickle

import torch

from engine.data.canvases import MOST, Canvases


def test_what_nobody_holds_is_given_out_again() -> None:
    canvases = Canvases()
    first = canvases.take(2, (8, 4))
    assert first.shape == (2, 4, 8, 3)
    place = first.data_ptr()
    del first
    assert canvases.take(2, (8, 4)).data_ptr() == place


def test_what_is_held_stays_as_it_is_even_by_a_view_of_a_view() -> None:
    canvases = Canvases()
    views = []
    for value in range(3 * MOST):
        batch = canvases.take(2, (8, 4))
        batch.fill_(value)
        views.append(batch.permute(0, 3, 1, 2)[1:, :, 1:].numpy() if value % 2 else batch[0].flatten())
        del batch
    for value, view in enumerate(views):
        assert (torch.as_tensor(view) == value).all()


def test_another_size_is_another_batch() -> None:
    canvases = Canvases()
    small = canvases.take(2, (8, 4)).data_ptr()
    large = canvases.take(2, (16, 8))
    assert large.shape == (2, 8, 16, 3)
    assert canvases.take(2, (8, 4)).data_ptr() == small, "the smaller one is still there"


def test_no_more_than_a_few_are_kept() -> None:
    canvases = Canvases()
    for side in range(1, 3 * MOST):
        canvases.take(1, (side, side))
    assert len(canvases._kept) == MOST


def test_it_travels_to_another_process_without_its_memory() -> None:
    canvases = Canvases()
    canvases.take(4, (512, 512))
    assert len(pickle.dumps(canvases)) < 500
    assert pickle.loads(pickle.dumps(canvases)).take(1, (4, 4)).shape == (1, 4, 4, 3)
