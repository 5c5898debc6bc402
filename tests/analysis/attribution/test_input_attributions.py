import numpy as np
import pytest
import torch
from torch import nn

from analysis.attribution.inputs import METHODS, attribute, cam_layer, drift
from analysis.errors import QuantizationError, UnknownNameError
from analysis.models.demo import load as load_demo
from analysis.models.network import NOTHING, build_network
from analysis.quant.configure import plan_of, quantize_nearest
from analysis.quant.statistics import collect_statistics
from analysis.records import Allocation, Candidate, QuantSettings
from tests.reference.work import finish


def images(n: int, channels: int = 1, side: int = 16) -> torch.Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def plan_at(network, x, text: str):
    candidate = Candidate.parse(text)
    statistics = finish(collect_statistics(network, lambda: [x], 1))
    names = network.table.names
    allocation = Allocation(layers=names, candidates=(candidate,) * len(names))
    settings = QuantSettings(weight_range="min_max", activation_range="min_max")
    return plan_of(network, quantize_nearest(network, allocation, statistics, settings), settings)


def test_a_linear_network_is_attributed_its_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 9, 4)).eval()
    x = images(3, channels=2, side=3)
    network = build_network(model, x[:2])
    targets = torch.tensor([1, 3, 0])
    rows = model[1].weight.detach()[targets].reshape(3, 2, 3, 3)
    found = attribute(network, NOTHING, x, targets, "integrated_gradients", 4)
    assert np.allclose(found, (rows * x).sum(1).numpy(), atol=1e-5)
    found = attribute(network, NOTHING, x, targets, "saliency", 4)
    assert np.allclose(found, rows.abs().sum(1).numpy(), atol=1e-6)


def test_integrated_gradients_sum_to_the_change_of_the_logit():
    x = images(2)
    network = build_network(load_demo("digits-mobilenet"), x)
    targets = torch.tensor([3, 7])
    found = attribute(network, NOTHING, x, targets, "integrated_gradients", 256)
    with torch.no_grad():
        change = network(x) - network(torch.zeros_like(x))
    expected = change[torch.arange(2), targets].numpy()
    assert np.allclose(found.sum((1, 2)), expected, rtol=0.03, atol=0.03)


def test_grad_cam_equals_captum_s_at_the_last_convolution_with_a_map():
    from captum.attr import LayerAttribution, LayerGradCam

    x = images(3)
    model = load_demo("digits-resnet")
    network = build_network(model, x[:2])
    layer = network.layer(cam_layer(network))
    targets = torch.tensor([0, 5, 9])
    module = model.get_submodule(layer.folded or layer.name)
    for child in model.modules():
        if getattr(child, "inplace", False):
            child.inplace = False
    cam = LayerGradCam(model, module).attribute(x, target=targets, relu_attributions=True)
    expected = LayerAttribution.interpolate(cam, (16, 16), "bilinear")[:, 0].detach().numpy()
    found = attribute(network, NOTHING, x, targets, "grad_cam", 1)
    assert found.max() > 0
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_drift_grows_as_bits_fall_and_vanishes_without_quantization(method):
    x = images(6)
    network = build_network(load_demo("digits-resnet"), x[:2])
    targets = network(x).argmax(1)
    plain = attribute(network, NOTHING, x, targets, method, 16)
    drifts = [
        drift(plain, attribute(network, plan_at(network, x, text), x, targets, method, 16)).mean()
        for text in ("w8a8", "w4a8", "w2a4")
    ]
    assert 0 <= drifts[0] < drifts[1] < drifts[2]
    again = attribute(network, NOTHING, x, targets, method, 16)
    assert np.allclose(drift(plain, again), 0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_samples_do_not_mix(method):
    x = images(4)
    network = build_network(load_demo("digits-mobilenet"), x[:2])
    plan, targets = plan_at(network, x, "w4a6"), torch.tensor([1, 2, 3, 4])
    whole = attribute(network, plan, x, targets, method, 8)
    alone = attribute(network, plan, x[2:3], targets[2:3], method, 8)
    assert np.allclose(whole[2], alone[0], rtol=1e-2, atol=1e-4)


def test_closed_forms_of_the_drift():
    a = np.array([[[1.0, 0.0], [0.0, 2.0]]])
    cases = ((a, 0.0), (3 * a, 0.0), (-a, 2.0), (a[:, ::-1], 1.0), (0 * a, 1.0))
    for other, expected in cases:
        assert drift(a, other).tolist() == pytest.approx([expected], abs=1e-12)
    assert drift(0 * a, 0 * a).tolist() == [0.0]


def test_what_cannot_be_attributed_is_refused():
    x = torch.randn(3, 6)
    network = build_network(nn.Sequential(nn.Linear(6, 3)).eval(), x[:2])
    targets = torch.zeros(3, dtype=torch.long)
    with pytest.raises(QuantizationError, match="need images"):
        attribute(network, NOTHING, x, targets, "saliency", 1)
    with pytest.raises(UnknownNameError, match="did you mean `saliency`"):
        attribute(network, NOTHING, x, targets, "salience", 1)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(9, 3)).eval()
    network = build_network(flat, images(2, side=3))
    with pytest.raises(QuantizationError, match="Grad-CAM needs a convolution"):
        attribute(network, NOTHING, images(3, side=3), targets, "grad_cam", 1)
