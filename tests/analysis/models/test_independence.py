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


class Tokens(nn.Module):
    """Reads whole numbers out of pixels and looks them up."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.table((x * 255).long().flatten(1)).mean(1))


def test_a_model_is_given_no_values_that_no_sample_has():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 50, (2, 1, 1, 12), generator=generator) / 255
    assert build_network(Tokens().eval(), tokens).table.names == ("fc",)
    # Of equal samples one is mirrored.
    assert build_network(Tokens().eval(), tokens[:1].repeat(2, 1, 1, 1)).table.names == ("fc",)


def test_mixing_is_found_among_samples_that_are_alike():
    x = batch(3, 3, 8, 8)
    for alike in (x[:1].repeat(3, 1, 1, 1), torch.ones(3, 3, 8, 8)):
        with pytest.raises(DataflowError, match="must not influence each other"):
            build_network(minus_mean(), alike)


def test_a_model_that_fails_on_another_number_of_samples_is_refused_in_words():
    model = toy(lambda m, x: m.first(x.reshape(2, 3, 8, 8)), first=conv())
    with pytest.raises(DataflowError, match=r"must accept any number and order of samples.*failed"):
        build_network(model, batch(2, 3, 8, 8))


def test_samples_that_are_merged_with_their_tokens_open_where_only_real_indices_are_accepted():
    class Merged(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.mix, self.head = nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            z = self.table(x.long())  # (N, T, D)
            z = self.mix(z.reshape(-1, 6)).reshape(z.shape)
            return self.head(z.mean(1))

    torch.manual_seed(0)
    tokens = torch.tensor([[8.0, 0, 1, 2], [7, 6, 5, 4]])
    network = build_network(Merged().eval(), tokens)
    call = network.layer("mix").calls[0]
    assert network.per_sample(call, torch.zeros(8, 6), 2).shape[0] == 2
