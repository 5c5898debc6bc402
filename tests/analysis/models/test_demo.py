import pytest
import torch
from safetensors import safe_open
from torch import nn

from analysis.data.digits import load_split
from analysis.errors import UnknownNameError, WeightsError
from analysis.models import demo
from analysis.models.demo import DEMO_MODELS, DEMO_NORMALIZE, build, load, normalized, weights_path

AT_LEAST = {"digits-resnet": 0.98, "digits-mobilenet": 0.97, "digits-vit": 0.96}
WEIGHTS = {"digits-resnet": 16, "digits-mobilenet": 18, "digits-vit": 18}


def quantizable(model):
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield module.weight
        elif isinstance(module, nn.MultiheadAttention):
            yield module.in_proj_weight


def accuracy(model):
    images, labels = load_split("evaluation")
    with torch.no_grad():
        return (model(normalized(images)).argmax(1) == torch.tensor(labels)).double().mean().item()


def round_weights(model, bits):
    """Round every weight to the nearest of a symmetric grid per output channel."""
    top = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for weight in quantizable(model):
            scale = weight.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True) / top
            weight.copy_((weight / scale).round() * scale)
    return model


def test_every_network_has_a_stated_accuracy():
    assert set(AT_LEAST) == set(WEIGHTS) == set(DEMO_MODELS)


@pytest.mark.parametrize("name", DEMO_MODELS)
def test_shipped_weights_reach_the_stated_accuracy(name):
    assert accuracy(load(name)) >= AT_LEAST[name]


@pytest.mark.parametrize("name", DEMO_MODELS)
def test_the_file_tells_how_it_was_made(name):
    with safe_open(weights_path(name), framework="pt") as file:
        metadata = file.metadata()
    assert metadata["name"] == name
    assert int(metadata["epochs"]) > 1
    assert int(metadata["seed"]) >= 0
    assert int(metadata["evaluation_n"]) == 597
    # Another processor may round one borderline image the other way.
    assert accuracy(load(name)) == pytest.approx(
        float(metadata["evaluation_accuracy"]), abs=2 / 597
    )


@pytest.mark.parametrize("name", DEMO_MODELS)
def test_eight_bits_are_nearly_lossless_and_two_bits_are_not(name):
    reference = accuracy(load(name))
    assert accuracy(round_weights(load(name), bits=8)) >= reference - 0.005
    assert accuracy(round_weights(load(name), bits=2)) <= reference - 0.1


@pytest.mark.parametrize("name", DEMO_MODELS)
def test_files_stay_below_half_a_megabyte(name):
    assert weights_path(name).stat().st_size < 500_000
    assert sum(p.numel() for p in build(name).parameters()) < 120_000


@pytest.mark.parametrize("name", DEMO_MODELS)
def test_networks_have_as_many_weights_to_quantize_as_written(name):
    assert len(list(quantizable(build(name)))) == WEIGHTS[name]


@pytest.mark.parametrize("name", DEMO_MODELS)
def test_loaded_networks_are_in_evaluation_mode_and_untrained_ones_are_not(name):
    assert not any(module.training for module in load(name).modules())
    assert build(name).training


@pytest.mark.parametrize("name", DEMO_MODELS)
def test_a_batch_of_one_gives_ten_logits(name):
    assert load(name)(normalized(load_split("calibration")[0][:1])).shape == (1, 10)


def test_residual_names_are_those_of_torchvision():
    parameters = dict(build("digits-resnet").named_parameters())
    assert {"conv1.weight", "layer1.0.conv1.weight", "fc.weight"} <= set(parameters)
    assert parameters["layer2.0.downsample.0.weight"].shape == (24, 16, 1, 1)


def test_depthwise_layers_filter_each_channel_alone():
    block = build("digits-mobilenet").blocks[0]
    assert block.depthwise[0].groups == block.depthwise[0].in_channels == 48
    assert block.residual


def test_normalization_follows_its_text():
    mean, std = map(float, DEMO_NORMALIZE.split(";"))
    pixels = load_split("train")[0]
    expected = (pixels / 255 - mean) / std
    torch.testing.assert_close(
        normalized(pixels).double(), torch.tensor(expected), atol=1e-6, rtol=0
    )
    assert abs(expected.mean()) < 0.05
    assert abs(expected.std() - 1) < 0.05


@pytest.mark.parametrize("function", [build, load, weights_path])
def test_an_unknown_network_is_refused_with_the_nearest_name(function):
    with pytest.raises(UnknownNameError, match="did you mean `digits-resnet`"):
        function("digit-resnet")


def test_missing_damaged_or_foreign_weights_are_refused(monkeypatch, tmp_path):
    foreign = weights_path("digits-vit")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a safetensors file")
    for path in (tmp_path / "missing.safetensors", damaged, foreign):
        monkeypatch.setattr(demo, "weights_path", lambda name, path=path: path)
        with pytest.raises(WeightsError, match="must fit `digits-resnet`"):
            load("digits-resnet")
