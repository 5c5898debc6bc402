"""What holds the peak of activation memory, counted by hand."""

import pytest
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.errors import QuantizationError
from analysis.models.cost import peak_activation_bits
from analysis.models.peak import Peak, find_peak, peak_words
from analysis.records import LayerTable
from tests.analysis.models.toys import TOYS, built, conv, residual, toy
from tests.reference.allocation import make_table

# Values of one sample of toys: the image, a tensor of four channels on 8 x 8 pixels.
IMAGE, MAP = 3 * 64, 4 * 64


def of(table: LayerTable, bits: int) -> Peak:
    found = find_peak(table, [bits] * len(table.layers))
    assert found is not None
    return found


def test_a_sum_holds_most_of_a_residual_block_whatever_the_bits() -> None:
    table = built(residual()).table
    for bits in (8, 4, 2):
        found = of(table, bits)
        # The tensor that conv2 reads, what conv2 makes of it, and their sum.
        assert found.held == ((("conv2",), MAP * bits),)
        assert found.unquantized == found.floor == 2 * MAP * 32
        assert found.share == 64 / (64 + bits)
    assert "89 % of the peak (0.0022 MiB" in peak_words(of(table, 8))
    assert f"below {2 * MAP * 32 / 2**23:.3g} MiB" in peak_words(of(table, 8))


def test_nothing_is_said_of_a_chain_of_quantized_layers() -> None:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        return m.pool(m.c(F.relu(m.b(F.relu(m.a(x)))))).flatten(2)

    pool = nn.AdaptiveAvgPool2d(1)
    chain = toy(body, width=1, a=conv(3, 16), b=conv(16, 8), c=conv(8, 1), pool=pool)
    found = of(built(chain).table, 8)
    assert found.held == ((("b",), 16 * 64 * 8), (("c",), 8 * 64 * 8))
    assert found.unquantized == 0
    assert found.floor == (64 + 1) * 32  # what the pooling reads and makes
    assert peak_words(found) == ""


@pytest.mark.parametrize("name", TOYS)
def test_the_parts_make_the_peak(name: str) -> None:
    table = built(TOYS[name]()).table
    for bits in (2, 8, 32):
        found = of(table, bits)
        assert found.bits == peak_activation_bits(table, [bits] * len(table.layers))
        assert found.unquantized <= found.floor <= found.bits


def test_a_table_without_moments_has_no_peak() -> None:
    assert find_peak(make_table([3, 4]), [8, 8]) is None


def test_bits_must_come_once_per_layer() -> None:
    with pytest.raises(QuantizationError, match="each of the 2 layers, got 1"):
        find_peak(make_table([3, 4]), [8])
