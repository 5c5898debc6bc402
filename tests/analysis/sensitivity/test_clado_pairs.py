"""Which pairs of layers are measured, how many passes that takes, and what is kept of them."""

import numpy as np
import pytest

from analysis.events import Progress
from analysis.models import network as network_module
from analysis.sensitivity.clado import CladoOptions, clado, near, passes
from tests.analysis.sensitivity.test_clado import chain_task, scores
from tests.reference.allocation import make_table
from tests.reference.work import CountedParts, finish


def test_interactions_are_symmetric_and_zero_within_a_layer_and_beyond_the_reach():
    task = chain_task("w2a3", "w4a4")
    near, every = scores(task, reach=1), scores(task)
    for found in (near, every):
        assert np.array_equal(found.interactions, found.interactions.transpose(2, 3, 0, 1))
        assert not any(found.interactions[i, :, i].any() for i in range(4))
    distance = np.abs(np.arange(4)[:, None] - np.arange(4))
    measured = (every.interactions != 0).any((1, 3))
    assert np.array_equal(measured, distance > 0)
    assert np.array_equal((near.interactions != 0).any((1, 3)), distance == 1)
    inside = near.interactions != 0
    assert np.array_equal(near.interactions[inside], every.interactions[inside])
    assert "3 of 6 pairs of layers were measured, those at most 1 apart" in near.notes[0]


def test_pairs_can_be_measured_at_the_fewest_bits_alone():
    task = chain_task("w4a4", "w2a4", "w8a8")
    lowest, every = scores(task, lowest_only=True), scores(task)
    at = np.zeros((3, 3), dtype=bool)
    at[1, 1] = True
    assert np.array_equal((lowest.interactions != 0).any((0, 2)), at)
    assert np.array_equal(lowest.interactions[:, 1, :, 1], every.interactions[:, 1, :, 1])
    assert np.array_equal(lowest.values, every.values)
    assert any("at w2a4 only" in note for note in lowest.notes)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reach": 2},
        {"reach": 9},
        {"lowest_only": True},
        {"reach": 1, "lowest_only": True, "batch_size": 3},
        {"same_block": True},
        {"reach": 1, "distance": "graph"},
    ],
)
def test_the_number_of_passes_is_known_before_they_are_made(options, monkeypatch):
    made = []
    run = network_module.run
    task = chain_task("w2a3", "w4a4", "float")
    monkeypatch.setattr(network_module, "run", lambda *a, **k: made.append(1) or run(*a, **k))
    options = CladoOptions(**options)
    work, steps = clado(task, options), set()
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            found = end.value
            break
        if isinstance(event, Progress):
            steps.add((event.done, event.total))
    batches = -(-task.n // options.batch_size)
    expected = passes(task.network.table, 3, options)
    assert len(made) == batches * expected
    assert found.forward_passes == expected
    total = batches * (expected - 1)
    assert steps == {(done, total) for done in range(total + 1)}


def test_counts_of_passes_and_pairs_follow_the_formula():
    fifty, four = make_table([1] * 50), make_table([1] * 4)
    assert passes(fifty, 3, CladoOptions()) == 1 + 150 + 50 * 49 // 2 * 9 == 11176
    assert passes(fifty, 3, CladoOptions(lowest_only=True)) == 1 + 150 + 1225
    assert passes(make_table([1]), 2, CladoOptions()) == 3
    pairs = [near(four, CladoOptions(reach=reach)).sum() // 2 for reach in (0, 1, 2, 3, 4)]
    assert pairs == [6, 3, 5, 6, 6]


def test_pairs_can_be_limited_to_blocks_and_to_steps_in_the_graph():
    """b and c read the output of a and lie in one block; d reads their sum."""
    task = chain_task("w2a3")
    table = task.network.table
    pairs = lambda **limits: {  # noqa: E731
        table.names[i] + table.names[j]
        for i, j in np.argwhere(np.triu(near(table, CladoOptions(**limits))))
    }
    assert pairs() == {"ab", "ac", "ad", "bc", "bd", "cd"}
    assert pairs(reach=1) == {"ab", "bc", "cd"}
    assert pairs(reach=1, distance="graph") == {"ab", "ac", "bc", "bd", "cd"}
    assert pairs(same_block=True) == {"bc"}
    assert pairs(reach=1, same_block=True, distance="graph") == {"bc"}
    every = scores(task)
    for limits, words in (
        ({"same_block": True}, "1 of 6 pairs of layers were measured, those in one block;"),
        (
            {"reach": 1, "distance": "graph"},
            "5 of 6 pairs of layers were measured, those at most 1 apart in the graph of layers;",
        ),
    ):
        found = scores(task, **limits)
        inside = near(table, CladoOptions(**limits))
        measured = (found.interactions != 0).any((1, 3))
        assert np.array_equal(measured, inside)
        assert np.array_equal(
            found.interactions[:, 0, :, 0], every.interactions[:, 0, :, 0] * inside
        )
        assert words in found.notes[0]


def test_an_interrupted_measurement_goes_on_within_a_batch():
    options = CladoOptions(batch_size=2, reach=2)
    whole = finish(clado(chain_task("w3a4", "w4a8"), options))
    parts = CountedParts()
    task = chain_task("w3a4", "w4a8", parts=parts)
    work = clado(task, options)
    while len(parts.saved) < 14:
        next(work)
    work.close()
    assert parts.saved == [
        *(f"samples-0-trial-{i}" for i in range(8)),
        "batch-0",
        *(f"samples-2-trial-{i}" for i in range(5)),
    ]
    resumed = finish(clado(task, options))
    assert parts.loaded == ["batch-0", *(f"samples-2-trial-{i}" for i in range(5))]
    assert len(parts.saved) == len(set(parts.saved)) == 3 * (8 + 1)
    assert np.array_equal(resumed.values, whole.values)
    assert np.array_equal(resumed.interactions, whole.interactions)
    assert np.array_equal(resumed.per_sample, whole.per_sample)
