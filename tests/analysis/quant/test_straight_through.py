import pytest
import torch

from analysis.quant import straight_through as module
from analysis.quant.straight_through import soft_values, squared_errors, straight_through

LIMITS = (-2, 5)
X = torch.tensor([-9.0, -2.4, -2.0, -0.7, 0.0, 0.2, 1.6, 4.9, 5.2, 8.0])


def moved(x, scale, share=1.0):
    return straight_through(x, scale, LIMITS, share)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_values_are_the_nearest_levels_within_the_limits(scale):
    levels = torch.arange(LIMITS[0], LIMITS[1] + 1) * scale
    nearest = levels[(X.unsqueeze(1) - levels).abs().argmin(1)]
    assert torch.equal(moved(X, torch.tensor([scale])), nearest)


def test_a_share_moves_part_of_the_way():
    scale = torch.tensor([1.0])
    assert torch.equal(moved(X, scale, 0.0), X)
    found = moved(X, scale, 0.25)
    assert found == pytest.approx(0.75 * X + 0.25 * moved(X, scale), abs=1e-6)


@pytest.mark.parametrize("share", [1.0, 0.25])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_gradients_are_those_of_lsq(scale, share):
    x = X.clone().requires_grad_()
    step = torch.tensor([scale], requires_grad=True)
    weights = torch.linspace(-1, 2, len(X))
    (moved(x, step, share) * weights).sum().backward()
    by_value, by_step = [], 0.0
    for value, weight in zip(X.tolist(), weights.tolist(), strict=True):
        at = value / scale
        inside = LIMITS[0] - 0.5 <= at <= LIMITS[1] + 0.5
        code = min(max(round(at), LIMITS[0]), LIMITS[1])
        by_value.append(weight * (1 - share + share * inside))
        by_step += weight * share * (code - at if inside else code)
    assert x.grad == pytest.approx(torch.tensor(by_value))
    assert step.grad.item() == pytest.approx(by_step, rel=1e-5)


def test_squared_errors_and_their_gradients_are_autograds():
    found = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(3, 4, 5, dtype=torch.float64)
    assert torch.allclose(
        squared_errors(found, wanted), (found - wanted).square().sum((1, 2)), rtol=1e-12
    )
    assert torch.autograd.gradcheck(lambda z: squared_errors(z, wanted), (found,))


def test_weights_say_how_much_an_element_counts():
    found = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(2, 3, dtype=torch.float64)
    weights = torch.tensor([[0.0, 1.0, 4.0], [2.0, 0.0, 0.0]], dtype=torch.float64)
    expected = (weights * (found - wanted).square()).sum(1)
    assert torch.allclose(squared_errors(found, wanted, weights), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda z: squared_errors(z, wanted, weights), (found,))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_compiled_loops_and_plain_operations_agree(kind, share, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x, weights = (torch.randn(5, 700, dtype=kind, generator=generator) for _ in range(2))

    def once():
        # Neither the values nor their gradient lie in one piece.
        value, scale = x.T.clone().T.requires_grad_(), torch.tensor([0.3], dtype=kind)
        out = moved(value, scale.requires_grad_(), share)
        assert out.dtype == kind
        return out, *torch.autograd.grad((out.T * weights.T).sum(), (value, scale))

    def errors(counts):
        found = x.T.clone().T.requires_grad_()
        sums = squared_errors(found, weights, counts)
        return sums, *torch.autograd.grad((sums * torch.arange(5)).sum(), found)

    compiled = [*once(), *errors(None), *errors(weights.square())]
    monkeypatch.setattr(module, "_is_compiled_for", lambda x: False)
    plain = [*once(), *errors(None), *errors(weights.square())]
    for one, other in zip(compiled, plain, strict=True):
        assert torch.allclose(one, other, rtol=1e-4 if kind == torch.float32 else 1e-12, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_soft_weights_and_their_gradients_are_autograds(kind, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    raw, weights = (torch.randn(4, 3, 700, dtype=kind, generator=generator) for _ in range(2))
    base, fixed = (5 * weights).floor(), raw > 0.6
    up = (weights > 0).to(kind)

    def once():
        rounding = raw.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
        scales = torch.tensor([0.1, 0.2, 0.3, 2.0], dtype=kind).reshape(4, 1, 1).requires_grad_()
        soft = soft_values(rounding, base, fixed, up, scales)
        return soft, *torch.autograd.grad((soft * weights).sum(), (rounding, scales))

    compiled = once()
    monkeypatch.setattr(module, "_is_compiled_for", lambda x: False)
    plain = once()
    for one, other in zip(compiled, plain, strict=True):
        assert torch.allclose(one, other, rtol=1e-4 if kind == torch.float32 else 1e-12)
    assert (compiled[1] == 0).any()
    unknown = soft_values(raw / 0 * 0, base, fixed & False, up, torch.ones(4, 1, 1, dtype=kind))
    assert unknown.isnan().all()


def test_what_is_not_a_number_stays_so():
    x = torch.tensor([0.5, float("nan"), float("inf")])
    found = moved(x, torch.tensor([1.0]))
    assert found[1].isnan()
    assert found[[0, 2]].tolist() == [0.0, 5.0]
    assert moved(x, torch.tensor([1.0]), 0.5)[1].isnan()


def test_narrower_targets_and_weights_are_spread_and_others_refused():
    found = torch.randn(3, 4, 5)
    wanted, weights = torch.randn(4, 1), torch.rand(3, 1, 1)
    expected = (weights * (found - wanted).square()).sum((1, 2))
    assert torch.allclose(squared_errors(found, wanted, weights), expected)
    with pytest.raises(RuntimeError, match="size"):
        squared_errors(found, torch.randn(3, 4, 6))
    with pytest.raises(RuntimeError, match="size"):
        soft_values(found, torch.zeros(3, 4, 4), found > 0, found, torch.ones(3, 1, 1))
