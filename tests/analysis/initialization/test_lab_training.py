import dataclasses
import math

import numpy as np
import pytest
import torch

from analysis.errors import DataError, OptionError, UnknownNameError
from analysis.events import Progress
from analysis.initialization.digits import digits_lab_data
from analysis.initialization.initializers import fans, parse_initializer
from analysis.initialization.lab_data import LabData
from analysis.initialization.networks import build_lab_network
from analysis.initialization.settings import RunSetting
from analysis.initialization.training import train_run
from analysis.records.initialization import FOLLOWED, KEPT, InitRun
from cache.codec import dumps
from tests.reference.initialization import small_data
from tests.reference.work import finish

DATA = small_data()


def setting(initializer: str = "he_normal", architecture: str = "regular", **other) -> RunSetting:
    values = {"seed": 0, "epochs": 2} | other
    return RunSetting(initializer=initializer, architecture=architecture, **values)


def trained(*args: str, bits: tuple[int, ...] = (8,), **other) -> InitRun:
    return finish(train_run(setting(*args, **other), DATA, bits))


def content(run: InitRun) -> tuple[bytes, list[bytes]]:
    """Everything but the seconds, bit for bit."""
    text, _ = dumps(dataclasses.replace(run, seconds=0.0))
    fields = (getattr(run, f.name) for f in dataclasses.fields(run))
    return text, [value.tobytes() for value in fields if isinstance(value, np.ndarray)]


def test_equal_seeds_give_equal_bits_and_other_seeds_other_runs():
    first, again, other = trained(), trained(), trained(seed=1)
    assert content(first) == content(again)
    assert not np.array_equal(first.statistics, other.statistics, equal_nan=True)


def test_neither_threads_nor_the_global_random_state_matter():
    first = content(trained("glorot_normal", "separable"))
    torch.manual_seed(123)
    torch.set_num_threads(2)
    before = torch.random.get_rng_state()
    assert content(trained("glorot_normal", "separable")) == first
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == 2


def test_a_run_has_the_shapes_that_its_record_states():
    run = trained("uniform_small", "separable_residual", bits=(8, 4), epochs=3)
    layers = len(run.layers)
    assert run.statistics.shape == (4, len(FOLLOWED), layers, len(KEPT))
    assert run.kinds == ("regular", *("depthwise", "pointwise") * 4, "linear")
    assert run.offsets[-1] == run.channel_low.shape[-1] == run.channel_high.shape[-1]
    assert run.loss.shape == (3,)
    assert run.accuracy.shape == (4,)
    assert run.correct.shape == run.qce.shape == (2, 2)
    assert run.qmse_isolated.shape == run.qmse_accumulated.shape == (2, 2, layers)
    assert run.accuracy[-1] == run.float_accuracy == run.float_correct / len(DATA.evaluation_y)
    assert run.diverged == ""
    assert np.isfinite(run.statistic("weight", "kurtosis")).all()
    assert np.isfinite(run.statistic("post_activation", "std")[:, :-1]).all()


def test_channels_and_layers_agree_on_the_extremes():
    run = trained()
    for row, role in enumerate(FOLLOWED[:2]):
        for layer in range(len(run.layers)):
            own = slice(run.offsets[layer], run.offsets[layer + 1])
            low, high = run.channel_low[:, row, own], run.channel_high[:, row, own]
            assert low.min(1).tolist() == run.statistic(role, "low")[:, layer].tolist()
            assert high.max(1).tolist() == run.statistic(role, "high")[:, layer].tolist()


def test_epoch_0_holds_the_weights_as_they_were_drawn():
    run = trained("normal_medium", "regular_nobn", seed=3)
    generator = torch.Generator().manual_seed(6)
    model = build_lab_network("regular_nobn")
    for place, name in enumerate(run.layers):
        shape = tuple(model.get_submodule(name).weight.shape)
        found = fans(shape)
        drawn = parse_initializer("normal_medium").draw(
            shape, generator, found.fan_in, found.fan_out
        )
        assert run.statistic("weight", "low")[0, place] == drawn.min().item()
        assert run.statistic("weight", "high")[0, place] == drawn.max().item()


def test_more_epochs_start_from_the_same_weights_and_initializers_see_the_same_batches():
    short, long = trained(), trained(epochs=3)
    assert np.array_equal(short.statistics[0], long.statistics[0], equal_nan=True)
    # Equal weights by other names: everything else must be equal too.
    half = 0.05
    named, own = trained("uniform_small"), trained(f"uniform:{-half}:{half}")
    assert np.array_equal(named.loss, own.loss)


def test_training_lowers_the_loss_and_learns_the_digits():
    run = finish(train_run(setting("glorot_uniform", epochs=3), digits_lab_data(), (8,)))
    assert run.loss[-1] < 0.5 * run.loss[0]
    assert run.accuracy[0] < 0.3
    assert run.float_accuracy > 0.9
    assert run.quantized_accuracy("default")[0] > 0.88


def test_a_run_says_what_it_does():
    events = list(train_run(setting(), DATA, (8,)))
    assert all(isinstance(event, Progress) for event in events)
    assert [event.done for event in events] == [1, 2, 3]
    assert "he_normal on regular, seed 0: epoch 1 of 2" in events[0].message


# --- divergence ----------------------------------------------------------------------------------


def test_a_start_that_overflows_is_recorded_as_diverged_at_epoch_0():
    run = trained("normal:0:1e9", "regular_nobn")
    assert run.diverged == "epoch 0: `units.2.conv` (pre-activation) is not finite"
    assert run.float_correct == 0
    assert np.isfinite(run.statistic("weight", "std")[0]).all()
    assert np.isnan(run.statistics[1:]).all()
    for value in (run.loss, run.accuracy, run.correct, run.qce, run.qmse_isolated):
        assert np.isnan(value).all()
    assert math.isnan(run.float_entropy)


def test_a_learning_rate_that_explodes_keeps_what_came_before():
    run = trained("normal_large", "regular_nobn", learning_rate=1e12, bits=(8, 4))
    assert run.diverged.startswith("epoch 1, step ")
    assert "the loss is " in run.diverged
    assert np.isfinite(run.statistics[0, :2]).all()
    assert np.isfinite(run.accuracy[0])
    assert np.isnan(run.statistics[1:]).all()
    assert np.isnan(run.loss).all()
    assert np.isnan(run.correct).all()
    assert run.correct.shape == (2, 2)


# --- settings and data ---------------------------------------------------------------------------


def test_settings_that_cannot_be_run_are_refused():
    with pytest.raises(UnknownNameError, match="initializer"):
        setting("he")
    with pytest.raises(UnknownNameError, match="architecture"):
        setting(architecture="vgg")
    for name, value in (("seed", -1), ("epochs", 0), ("batch", 1)):
        with pytest.raises(OptionError, match=f"`{name}` must lie in"):
            setting(**{name: value})
    for value in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(OptionError, match="learning_rate"):
            setting(learning_rate=value)


def test_an_own_initializer_is_spelled_in_one_way_in_the_record():
    assert setting("normal:0.0:1e-1") == setting("normal:0:0.1")


def test_data_that_does_not_fit_is_refused():
    good = {f.name: getattr(DATA, f.name) for f in dataclasses.fields(LabData)}
    for change, message in (
        ({"calibration_x": DATA.calibration_x[:, :, :8]}, "of one shape"),
        ({"train_x": DATA.train_x[:1], "train_y": DATA.train_y[:1]}, "two images"),
        ({"train_y": DATA.train_y[:-1]}, "one an image"),
        ({"evaluation_y": -DATA.evaluation_y}, "from 0"),
        ({"evaluation_x": DATA.evaluation_x * math.inf}, "finite"),
    ):
        with pytest.raises(DataError, match=message):
            LabData(**(good | change))


def test_colour_images_of_another_size_train_too():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, 32, 32, generator=generator)
    y = torch.arange(40) % 4
    data = LabData(x, y, x[:10], x[20:], y[20:], digest="colour")
    run = finish(train_run(setting(architecture="separable", epochs=1), data, (8,)))
    assert run.layers[0] == "stem.conv"
    assert run.offsets[-1] - run.offsets[-2] == 4
    assert np.isfinite(run.statistic("weight", "std")).all()
