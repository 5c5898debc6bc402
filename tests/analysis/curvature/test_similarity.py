import numpy as np
import pytest
import torch

from analysis.curvature.similarity import VARIANTS, chance, gram, similarity
from analysis.errors import UnknownNameError
from tests.reference import similarity as oracle


def normal(n: int, *widths: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=generator) + 0.5 for d in widths]


def compared(features: list[torch.Tensor], variant: str) -> np.ndarray:
    return similarity(np.stack([gram(f) for f in features]), variant)[0]


def test_the_gram_form_equals_the_feature_form():
    features = normal(9, 3, 9, 40)
    for variant, centre in (("plain", False), ("centred", True)):
        found = compared(features, variant)
        for i, a in enumerate(features):
            for j, b in enumerate(features):
                assert found[i, j] == pytest.approx(oracle.feature_form(a, b, centre=centre))
                assert found[i, j] == pytest.approx(oracle.kernel_form(a, b, centre=centre))


def test_the_debiased_form_is_the_ratio_of_u_statistics():
    features = normal(7, 3, 9, 40)
    found = compared(features, "debiased")
    for i, a in enumerate(features):
        for j, b in enumerate(features):
            assert found[i, j] == pytest.approx(oracle.debiased(a, b), abs=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_matrix_is_symmetric_with_ones_on_its_diagonal_and_no_negative_eigenvalue(variant):
    found = compared(normal(12, 3, 9, 40, 5, 5), variant)
    assert np.array_equal(found, found.T)
    assert np.array_equal(found.diagonal(), np.ones(5))
    assert np.linalg.eigvalsh(found).min() > -1e-9


@pytest.mark.parametrize("variant", VARIANTS)
def test_rotating_and_scaling_features_does_not_matter(variant):
    (a,) = normal(12, 6)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1))).Q
    assert compared([a.double(), 3 * a.double() @ rotation.double()], variant)[0, 1] == (
        pytest.approx(1.0)
    )


@pytest.mark.parametrize("variant", ["centred", "debiased"])
def test_shifting_features_does_not_matter_once_they_are_centred(variant):
    a, b = (f.double() for f in normal(12, 6, 8))
    assert compared([a + 1e4, b], variant)[0, 1] == pytest.approx(
        compared([a, b], variant)[0, 1], abs=1e-6
    )
    assert compared([a + 1e4, b], "plain")[0, 1] != pytest.approx(
        compared([a, b], "plain")[0, 1], abs=1e-2
    )


def test_orthogonal_features_have_no_similarity_and_equal_ones_all():
    signs = torch.tensor([[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]).float().T
    for variant in ("plain", "centred"):
        assert np.allclose(
            compared([signs[:, :1], signs[:, 1:2], signs[:, 2:]], variant), np.eye(3)
        )
    a, b = torch.tensor([[1.0, 0, 0, 0]]).T, torch.tensor([[0, 1.0, 0, 0]]).T
    assert compared([a, b], "plain")[0, 1] == 0
    assert compared([a, b], "centred")[0, 1] == pytest.approx(1 / 9)


@pytest.mark.parametrize("variant", ["centred", "debiased"])
def test_constant_features_resemble_nothing_but_themselves(variant):
    constant = torch.full((8, 5), 0.1) * torch.arange(1, 6)
    grams = np.stack([gram(f) for f in (*normal(8, 4), constant, *normal(8, 4, seed=1))])
    found, empty = similarity(grams, variant)
    assert empty.tolist() == [False, True, False]
    assert found[1].tolist() == [0, 1, 0]
    assert found[0, 2] != 0


def test_constant_features_resemble_each_other_where_nothing_is_centred():
    found, empty = similarity(
        np.stack([gram(f) for f in (torch.ones(8, 5), torch.ones(8, 1), torch.zeros(8, 3))]),
        "plain",
    )
    assert empty.tolist() == [False, False, True]
    assert np.allclose(found, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize("width", [8, 32, 320])
def test_independent_gaussian_features_saturate_as_d_over_d_plus_n_unless_debiased(width):
    n, found = 32, {variant: [] for variant in VARIANTS}
    for seed in range(40):
        grams = np.stack([gram(f - 0.5) for f in normal(n, width, width, seed=seed)])
        for variant, values in found.items():
            values.append(similarity(grams, variant)[0][0, 1])
    expected = {"plain": width / (width + n + 1), "centred": width / (width + n), "debiased": 0.0}
    for variant, values in found.items():
        error = np.std(values, ddof=1) / len(values) ** 0.5
        assert abs(np.mean(values) - expected[variant]) < 4 * error + 0.005


def test_chance_is_the_mean_over_all_orders_of_the_images():
    a, b = normal(5, 3, 7)
    grams = np.stack([gram(a), gram(b)])
    for variant, centre in (("plain", False), ("centred", True)):
        expected = oracle.mean_over_orders(a, b, centre=centre)
        assert chance(grams, variant)[0, 1] == pytest.approx(expected)
    assert chance(grams, "debiased")[0, 1] == pytest.approx(0, abs=1e-12)


def test_wide_features_are_summed_in_blocks(monkeypatch):
    (a,) = normal(6, 50)
    monkeypatch.setattr("analysis.curvature.similarity._COLUMNS", 7)
    assert np.allclose(gram(a), (a.double() @ a.double().T).numpy(), rtol=1e-13)


def test_an_unknown_variant_is_refused():
    with pytest.raises(UnknownNameError, match="centred"):
        similarity(np.ones((2, 4, 4)), "centered")
