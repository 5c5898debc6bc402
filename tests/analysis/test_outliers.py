from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import QuantizationError
from analysis.outliers import find_outliers, totals
from tests.analysis.plots.records_to_draw import score_table


def scores(per_sample: np.ndarray):
    return score_table(per_sample.mean(0), per_sample=per_sample)


def sample_set(n: int = 200, layers: int = 4) -> np.ndarray:
    return np.random.default_rng(0).lognormal(0, 0.3, (n, layers)) * 10.0 ** np.arange(layers)


def test_layers_count_alike_whatever_their_scale():
    per_sample = sample_set()
    assert np.allclose(totals(per_sample), totals(per_sample * [1, 1e6, 1e-6, 1]))
    assert totals(per_sample).mean() == pytest.approx(1.0)
    assert (totals(np.zeros((3, 2))) == 0).all()


def test_a_sample_far_out_is_found_and_its_weight_said():
    per_sample = sample_set()
    per_sample[17] *= 40
    per_sample[90] /= 60
    found = find_outliers(scores(per_sample))
    assert sorted(found.samples.tolist()) == [17, 90]
    rest = np.delete(per_sample, [17, 90], axis=0)
    assert np.allclose(found.without, rest.mean(0))
    assert (found.with_all > found.without).all()
    assert found.moved == 0


def test_ranks_that_one_sample_decides_are_counted():
    per_sample = np.tile(np.array([1.0, 1.1, 1.2]), (50, 1)) * np.linspace(0.9, 1.1, 50)[:, None]
    per_sample[3] = [100.0, 1.0, 1.0]
    assert find_outliers(scores(per_sample)).moved == 2


def test_ordinary_and_equal_samples_have_no_outliers():
    assert len(find_outliers(scores(sample_set(60))).samples) == 0
    assert len(find_outliers(scores(np.ones((20, 3)))).samples) == 0


def test_permuting_samples_permutes_what_is_found():
    per_sample = sample_set()
    per_sample[17] *= 40
    order = np.random.default_rng(1).permutation(len(per_sample))
    found = find_outliers(scores(per_sample[order]))
    assert order[found.samples].tolist() == [17]


def test_a_metric_without_scores_per_sample_is_refused():
    with pytest.raises(QuantizationError, match="gives none"):
        find_outliers(replace(scores(sample_set()), per_sample=None))
