"""Small data, planted runs and slow obvious twins for the initialization lab."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from analysis.initialization.digits import digits_lab_data
from analysis.initialization.lab_data import LabData, digest_of
from analysis.records.initialization import FOLLOWED, KEPT, RECIPES, InitRun


def small_data(train: int = 100, calibration: int = 20, evaluation: int = 60) -> LabData:
    """The first digits of every part."""
    whole = digits_lab_data()
    parts = (
        whole.train_x[:train],
        whole.train_y[:train],
        whole.calibration_x[:calibration],
        whole.evaluation_x[:evaluation],
        whole.evaluation_y[:evaluation],
    )
    return LabData(*parts, digest=digest_of(*parts))


def folded_by_hand(model: nn.Module) -> nn.Module:
    """A copy in which every BatchNorm is written into the convolution before it, in float64."""
    twin = copy.deepcopy(model).eval().double()
    for unit in twin.modules():
        for conv, norm in (("conv", "norm"), ("depthwise", "norm1"), ("pointwise", "norm2")):
            batchnorm = getattr(unit, norm, None)
            if not isinstance(batchnorm, nn.BatchNorm2d):
                continue
            layer = getattr(unit, conv)
            factor = batchnorm.weight / (batchnorm.running_var + batchnorm.eps).sqrt()
            layer.weight.data = layer.weight.data * factor.data[:, None, None, None]
            shift = batchnorm.bias - batchnorm.running_mean * factor
            layer.bias = nn.Parameter(shift.data)
            setattr(unit, norm, nn.Identity())
    return twin


def outputs_of_layers(model: nn.Module, x: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """What every named layer computes."""
    found: dict[str, Tensor] = {}
    handles = []
    for name in names:

        def keep(module: nn.Module, args: object, output: Tensor, name: str = name) -> None:
            found[name] = output

        handles.append(model.get_submodule(name).register_forward_hook(keep))
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return found


def quantized_twin(model: nn.Module, quantization, inputs: dict[str, int], names) -> nn.Module:
    """A copy whose named layers have rounded weights and round what they read."""
    twin = copy.deepcopy(model)
    for name in names:
        layer = twin.get_submodule(name)
        layer.weight.data = quantization.weights[name](layer.weight.data)
        quantizer = quantization.activations[inputs[name]]
        layer.register_forward_pre_hook(lambda module, args, quantizer=quantizer: quantizer(*args))
    return twin


def statistics_by_hand(channels: np.ndarray) -> dict[str, float]:
    """Statistics of the rows of an array (C, M) in float64, straight from their definitions."""
    rows = channels.astype(np.float64)
    values = np.sort(rows.ravel())
    centred = values - values.mean()
    ranges = [row.max() - row.min() for row in rows]
    live = [r for r in ranges if r > 0]
    return {
        "low": values[0],
        "high": values[-1],
        "mean": values.mean(),
        "std": np.sqrt((centred**2).mean()),
        "kurtosis": (centred**4).mean() / (centred**2).mean() ** 2,
        "q01": next(v for i, v in enumerate(values, 1) if i >= 0.01 * len(values)),
        "q99": next(v for i, v in enumerate(values, 1) if i >= 0.99 * len(values)),
        "acp": sum(r / (values[-1] - values[0]) for r in live) / len(live),
        "dead": sum(r == 0 for r in ranges),
    }


def planted_run(
    initializer: str = "he_normal",
    architecture: str = "regular",
    seed: int = 0,
    *,
    accuracy: float = 0.9,
    drop: float = 0.1,
    weight_range: float = 1.0,
    qmse: float = 0.1,
    bits: tuple[int, ...] = (8, 4),
    diverged: str = "",
    rise: float = 0.0,
) -> InitRun:
    """A run of two layers that shows what is wanted: no drop at the first width, ``drop`` after.

    ``rise`` is by how much the accuracy grew in the only epoch.
    """
    n, epochs, layers = 1000, 1, ("stem", "fc")
    statistics = np.zeros((epochs + 1, len(FOLLOWED), len(layers), len(KEPT)))
    statistics[..., KEPT.index("high")] = 1.0
    statistics[-1, ..., KEPT.index("high")] = weight_range
    statistics[..., KEPT.index("acp")] = 0.5
    shape = (len(RECIPES), len(bits))
    correct = np.full(shape, round((accuracy - drop) * n), dtype=np.float64)
    correct[:, 0] = round(accuracy * n)
    error = np.full((*shape, len(layers)), qmse)
    if diverged:
        statistics, correct, error = (np.full_like(a, np.nan) for a in (statistics, correct, error))
    return InitRun(
        initializer=initializer,
        architecture=architecture,
        seed=seed,
        epochs=epochs,
        layers=layers,
        kinds=("regular", "linear"),
        statistics=statistics,
        offsets=np.array([0, 1, 11]),
        channel_low=np.zeros((epochs + 1, 3, 11)),
        channel_high=np.ones((epochs + 1, 3, 11)),
        loss=np.ones(epochs),
        accuracy=np.array([accuracy - rise, accuracy]),
        float_correct=0 if diverged else round(accuracy * n),
        n=n,
        bits=bits,
        correct=correct,
        qce=np.ones(shape),
        float_entropy=0.5,
        qmse_isolated=error,
        qmse_accumulated=error,
        diverged=diverged,
    )
