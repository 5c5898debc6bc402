import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.models.calls import (
    NumberedCalls,
    argument,
    call_name,
    flat_tensors,
    same_call,
    tensors_in,
    with_argument,
)


class Names(NumberedCalls):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def call(self, func, args, kwargs):
        result = super().call(func, args, kwargs)
        if tensors_in(result):
            self.names.append(call_name(func))
        return result


def names_of(body) -> list[str]:
    with Names() as calls:
        body()
    assert calls.index == len(calls.names)
    return calls.names


def test_only_calls_that_return_tensors_are_numbered():
    x = torch.ones(2, 3)
    assert names_of(lambda: (x.shape, x.size(), x.dim(), x.sum().item(), x + 1)) == ["sum", "add"]


@pytest.mark.parametrize(
    "activate",
    [
        nn.ReLU(inplace=True),
        nn.ReLU6(inplace=True),
        nn.Hardswish(inplace=True),
        nn.SiLU(inplace=True),
        nn.LeakyReLU(0.1, inplace=True),
        lambda x: F.relu(x, True),
        lambda x: F.elu(x, 1.0, True),
        lambda x: F.hardtanh(x, inplace=True),
        lambda x: F.dropout(x, 0.5, False, True) * 2,
    ],
)
def test_in_place_activations_leave_their_argument_alone(activate):
    x = torch.linspace(-4, 4, 9)
    kept = x.clone()
    expected = activate(x.clone())
    with NumberedCalls():
        got = activate(x)
    assert torch.equal(x, kept)
    assert torch.equal(got, expected)


def test_functions_that_are_in_place_by_name_stay_in_place():
    x = torch.linspace(-4, 4, 9)
    with NumberedCalls():
        got = torch.relu_(x)
    assert got is x
    assert x.min() == 0


def test_an_assignment_is_a_call_that_changes_its_argument():
    x, mask = torch.zeros(3, 2), torch.tensor([True, False, True])

    def body():
        x[1] = 2.0
        x[:, 0] = torch.tensor([5.0, 6.0, 7.0])
        x[mask] = -1.0

    assert names_of(body) == ["setitem_", "tensor", "setitem_", "setitem_"]
    assert x.tolist() == [[-1, -1], [6, 2], [-1, -1]]


@pytest.mark.parametrize("need_weights", [True, False])
def test_packed_attention_is_opened_up_and_gives_the_same_result(need_weights):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        expected = attention(x, x, x, need_weights=need_weights)
        with Names() as calls:
            got = attention(x, x, x, need_weights=need_weights)
    assert calls.names.count("linear") == 2
    torch.testing.assert_close(got[0], expected[0])
    if need_weights:
        torch.testing.assert_close(got[1], expected[1])
    else:
        assert got[1] is expected[1] is None


def test_packed_attention_keeps_its_masks():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), diagonal=1)
    padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
    with torch.no_grad():
        expected = attention(x, x, x, attn_mask=mask, key_padding_mask=padding)[0]
        with NumberedCalls():
            got = attention(x, x, x, attn_mask=mask, key_padding_mask=padding)[0]
    torch.testing.assert_close(got, expected)


def test_an_error_in_the_model_leaves_no_mode_behind():
    x, other, calls = torch.ones(2), torch.ones(3), NumberedCalls()
    with pytest.raises(RuntimeError, match="must match"), calls:
        (x + 1).add(other)
    _ = x + 1
    assert calls.index == 1


def test_tensors_are_found_in_results_and_arguments():
    a, b = torch.ones(1), torch.zeros(1)
    assert tensors_in(a)[0] is a
    assert tensors_in((a, None, b)) == (a, b)
    assert tensors_in((1, a)) == tensors_in(3) == tensors_in(()) == ()
    found: list[Tensor] = flat_tensors((a, [b, (a, 1)]), {"out": b, "dim": 0})
    assert [t is a for t in found] == [True, False, True, False]


def test_an_argument_is_found_and_replaced_by_position_or_name():
    assert argument((1, 2), {}, 1, "weight") == 2
    assert argument((1,), {"weight": 2}, 1, "weight") == 2
    assert argument((1,), {}, 1, "weight") is None
    assert with_argument((1, 2), {}, 1, "weight", 9) == ((1, 9), {})
    assert with_argument((1,), {"weight": 2}, 1, "weight", 9) == ((1,), {"weight": 9})


def test_properties_are_told_apart_by_their_name():
    seen = []

    class Seen(NumberedCalls):
        def call(self, func, args, kwargs):
            seen.append(func)
            return super().call(func, args, kwargs)

    x = torch.ones(2, 3)
    with Seen():
        _ = (x.T, x.T, x.mT)
    assert [call_name(f) for f in seen] == ["T", "T", "mT"]
    assert same_call(seen[0], seen[1])
    assert not same_call(seen[0], seen[2])
