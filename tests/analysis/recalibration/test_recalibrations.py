import pytest
import torch
from torch import nn

from analysis.distributions.collect import collect_distributions
from analysis.errors import QuantizationError, UnknownNameError
from analysis.models.channels import ChannelMoments
from analysis.models.rectifiers import clip_of
from analysis.models.replay import Plan
from analysis.recalibration import RECALIBRATIONS, RecalibrationTask
from tests.analysis.models import toys
from tests.analysis.models.toys import batch, conv, toy
from tests.analysis.recalibration.nets import chain, logits, network_of, recalibrate
from tests.reference.sensitivity import demo_task
from tests.reference.work import finish


def test_every_recalibration_says_what_it_answers_and_where_it_is_from():
    assert set(RECALIBRATIONS.names()) == {
        "equalization",
        "absorption",
        "batchnorm_reestimation",
        "bounded_relu",
    }
    for method in RECALIBRATIONS:
        assert method.answers.endswith("?")
        assert "arXiv:" in method.reference
        assert method.cost
    with pytest.raises(UnknownNameError, match="did you mean `equalization`"):
        RECALIBRATIONS["equalisation"]


@pytest.mark.parametrize("name", toys.TOYS)
def test_every_recalibration_takes_every_kind_of_network(name):
    network = network_of(toys.TOYS[name]())
    x = batch(6, 3, 8, 8, seed=3)
    before = logits(network, x)
    for method in RECALIBRATIONS.names():
        state = {k: v.clone() for k, v in network.module.state_dict().items()}
        result, notes = recalibrate(network, method, x, batch_size=4)
        after = logits(result, x)
        assert after.isfinite().all()
        assert notes
        if method == "equalization":
            torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
        assert torch.equal(logits(network, x), before)
        assert all(torch.equal(v, state[k]) for k, v in network.module.state_dict().items())


def test_a_network_whose_code_reads_values_is_recalibrated_too():
    def body(m, x):
        assert x.abs().sum().item() >= 0
        return m.second(torch.relu(m.first(x)))

    network = network_of(toy(body, first=conv(), second=conv(4)))
    assert not network.can_resume
    result, notes = recalibrate(network, "equalization")
    assert "2 pairs equalized" in notes
    x = batch(6, 3, 8, 8, seed=3)
    torch.testing.assert_close(logits(result, x), logits(network, x))


def test_a_bias_that_a_layer_did_not_have_is_counted():
    module = chain(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, bias=False))
    with torch.no_grad():
        module[0].bias.fill_(20.0)
    network = network_of(module)
    x = batch(6, 3, 8, 8, seed=3)
    result, _ = recalibrate(network, "absorption", x, source="minimum")
    assert (network.layer("2").num_biases, result.layer("2").num_biases) == (0, 4)
    assert result.table.params_after_folding == network.table.params_after_folding + 4
    torch.testing.assert_close(logits(result, x), logits(network, x), rtol=1e-4, atol=1e-4)


def test_a_calibration_set_without_samples_is_refused():
    network = network_of(toys.residual())
    with pytest.raises(QuantizationError, match="at least one calibration sample"):
        RecalibrationTask(network, lambda r: batch(), 0)


def test_streamed_moments_are_those_of_all_values_at_once():
    z = batch(50, 3, 7, seed=2) * torch.tensor([1.0, 1e-3, 10.0])[:, None] + 1e4
    streamed = ChannelMoments()
    for part in z.split(8):
        streamed.add(part, 1)
    rows = z.movedim(1, 0).flatten(1).double()
    torch.testing.assert_close(streamed.mean, rows.mean(1), rtol=1e-14, atol=0)
    torch.testing.assert_close(streamed.variance, rows.var(1), rtol=1e-9, atol=0)
    assert streamed.n == rows.shape[1]
    single = ChannelMoments()
    single.add(torch.ones(1, 2), 1)
    assert single.variance.isnan().all()


def test_limits_are_intersected_and_compared():
    x = torch.linspace(-3, 9, 49)
    relu, relu6, low = clip_of(0.0, torch.inf), clip_of(0.0, 6.0), clip_of(-1.0, 2.0)
    for first, second in ((relu, relu6), (relu6, low), (low, relu6)):
        assert torch.equal(first.within(second)(x), second(first(x)))
    assert relu.contains(relu6)
    assert not relu6.contains(relu)
    assert not relu6.contains(low)
    assert torch.equal(relu6.times(torch.tensor(0.5))(x), relu6(x * 2) / 2)


def test_what_is_described_of_a_recalibrated_network_is_what_its_layers_read():
    """A scaled ReLU6 and a bound are transforms of the network's own plan."""
    task = demo_task("digits-mobilenet", 20, "w8a8")
    network, x = task.network, task.inputs(range(20))
    for name in ("equalization", "bounded_relu"):
        network, _ = recalibrate(network, name, x)
    found = finish(collect_distributions(network, lambda: iter([x]), 1))
    seen = {}

    def look(name):
        return lambda value: seen.setdefault(name, value)

    readers = {layer.name: network.table.tensors[layer.inputs[0]] for layer in network.table.layers}
    with torch.no_grad():
        taps = {(t.call, t.slot): look(name) for name, t in readers.items()}
        network(x, Plan(outputs=taps))
    for name, tensor in readers.items():
        first = next(n for n, t in readers.items() if t.id == tensor.id)
        if first not in seen:
            continue  # another layer's tap stands on the same tensor
        one = found.of(name, "input")
        assert one.value("low") == pytest.approx(float(seen[first].min()), abs=1e-6)
        assert one.value("high") == pytest.approx(float(seen[first].max()), rel=1e-6)
    inside = [place for place in found.places if place.role == "post_activation"]
    activated = {layer.name for layer in network.table.layers if "project" not in layer.name}
    assert {place.layer for place in inside if place.tensor >= 0} == activated - {"fc"}
