import pytest
import torch
from torch import nn

from analysis.errors import DataflowError
from analysis.models.demo import load
from analysis.models.network import build_network
from tests.analysis.models.toys import batch, conv, toy


def minus_mean():
    def body(m, x):
        h = m.first(x)
        return m.second((h - h.mean(0, keepdim=True)).relu())

    return toy(body, first=conv(), second=conv(4))


def batch_statistics():
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    return toy(lambda m, x: m.second(m.norm(m.first(x))), first=conv(), norm=norm, second=conv(4))


def attention_over_the_batch():
    def body(m, x):
        h = m.first(x)
        flat = h.flatten(1)
        weights = torch.softmax(flat @ flat.T * 0.01, 1)
        return (weights @ flat).view_as(h)

    return toy(body, first=conv())


@pytest.mark.parametrize(
    ("build", "call"),
    [
        (minus_mean, "mean|sub"),
        (batch_statistics, "batch_norm` in `norm"),
        (attention_over_the_batch, "matmul|softmax"),
    ],
)
def test_models_that_mix_samples_are_refused_with_the_call_that_does(build, call):
    with pytest.raises(DataflowError, match=f"must not influence each other.*({call})"):
        build_network(build(), batch(3, 3, 8, 8))


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet", "digits-vit"])
def test_ordinary_models_pass(name):
    assert build_network(load(name), batch(2, 1, 16, 16)).table.layers
