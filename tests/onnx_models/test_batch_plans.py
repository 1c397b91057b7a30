"""Plans of batches, by properties; and how models go by them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.bert_graph import random_tensors
from tests.reference.tiny_models import ids_of, random_prompts, write_model

import fastroute
from fastroute.onnx.batching import padded, plan_batches
from fastroute.onnx.session import GraphSession
from fastroute.routers import BertRouter

LENGTHS = st.lists(st.integers(0, 600), max_size=300)
AREAS = st.integers(1, 5000)


@given(LENGTHS, AREAS)
def test_every_sequence_is_in_one_batch(lengths: list[int], area: int) -> None:
    batches = plan_batches(lengths, area=area)
    assert sorted(np.concatenate([*batches, np.zeros(0, np.int64)]).tolist()) == list(range(len(lengths)))
    assert all(len(batch) for batch in batches)


@given(LENGTHS, AREAS)
def test_no_batch_is_larger_unless_one_sequence_is(lengths: list[int], area: int) -> None:
    for batch in plan_batches(lengths, area=area):
        longest = max(lengths[place] for place in batch)
        assert len(batch) == 1 or len(batch) * longest <= area


@given(LENGTHS, AREAS)
def test_the_longest_come_first_and_equal_ones_in_order(lengths: list[int], area: int) -> None:
    order = [place for batch in plan_batches(lengths, area=area) for place in batch.tolist()]
    assert order == sorted(range(len(lengths)), key=lambda place: -lengths[place])


@given(LENGTHS, AREAS)
def test_batches_are_as_full_as_they_may_be(lengths: list[int], area: int) -> None:
    batches = plan_batches(lengths, area=area)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(lengths[batch[0]], 1) > area


@given(st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=1, max_size=20), st.integers(0, 99))
def test_padding_and_its_mask(sequences: list[list[int]], pad: int) -> None:
    ids, mask = padded(sequences, pad)
    assert ids.shape == mask.shape == (len(sequences), max(map(len, sequences)))
    assert ids.dtype == mask.dtype == np.int64
    for row, sequence in enumerate(sequences):
        assert ids[row][mask[row] == 1].tolist() == sequence
        assert (ids[row][mask[row] == 0] == pad).all()
        assert mask[row].tolist() == sorted(mask[row].tolist(), reverse=True)


Shapes = list[tuple[int, int]]


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> Shapes:
    """Shapes of the batches that are run."""
    seen: Shapes = []
    run = GraphSession.run

    def watched(self: GraphSession, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        seen.append(ids.shape)
        return run(self, ids, mask)

    monkeypatch.setattr(GraphSession, "run", watched)
    return seen


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> BertRouter:
    return BertRouter.from_folder(write_model(tmp_path_factory.mktemp("model"), random_tensors(labels=1)))


def test_padding_goes_to_the_longest_of_a_batch_alone(router: BertRouter, shapes: Shapes) -> None:
    before = fastroute.info().threads
    fastroute.set_num_threads(1)
    try:
        prompts = random_prompts(500, seed=9)
        router.score(prompts)
        lengths = [len(ids_of(prompt)) for prompt in prompts]
        assert sum(rows for rows, _ in shapes) == 500
        assert all(rows * width <= 512 for rows, width in shapes)
        assert {width for _, width in shapes} <= set(lengths)
        assert sum(rows * width for rows, width in shapes) < 1.1 * sum(lengths) < 0.75 * 500 * max(lengths)
    finally:
        fastroute.set_num_threads(before)


def test_one_prompt_is_run_as_it_is(router: BertRouter, shapes: Shapes) -> None:
    router.score("the sum is 2")
    assert shapes == [(1, 6)]


def test_more_prompts_than_a_window(router: BertRouter, shapes: Shapes) -> None:
    prompts = [f"{'the ' * (i % 5)}sum" for i in range(9000)]
    scores = router.score(iter(prompts))
    np.testing.assert_allclose(scores, np.tile(router.score(prompts[:5]), 1800), atol=1e-6)
    assert sum(rows for rows, _ in shapes) == 9005


def test_progress_counts_up_to_all(router: BertRouter) -> None:
    calls: list[tuple[int, int]] = []
    prompts = random_prompts(300, seed=10)
    router.score(prompts, progress=lambda done, total: calls.append((done, total)))
    assert [total for _, total in calls] == [300] * len(calls)
    done = [done for done, _ in calls]
    assert done == sorted(set(done))
    assert done[-1] == 300
    assert len(done) > 3


def test_an_interrupt_between_batches_leaves_a_usable_router(router: BertRouter) -> None:
    prompts = random_prompts(300, seed=10)
    expected = router.score(prompts)

    def stop(done: int, _: int) -> None:
        if done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        router.score(prompts, progress=stop)
    np.testing.assert_array_equal(router.score(prompts), expected)
