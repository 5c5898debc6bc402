"""The embedded digits as the lab reads them."""

import torch

from analysis.data.digits import load_split
from analysis.initialization.lab_data import LabData, digest_of
from analysis.models.demo import normalized

# Ten a class: activations are followed at every epoch, more would cost as much as the training.
CALIBRATION = 100


def digits_lab_data() -> LabData:
    """Return the embedded digits: 1,000 to train on, 100 to calibrate, 597 to evaluate."""
    train_x, train_y = load_split("train")
    calibration_x, _ = load_split("calibration")
    evaluation_x, evaluation_y = load_split("evaluation")
    tensors = (
        normalized(train_x),
        torch.from_numpy(train_y),
        normalized(calibration_x[:CALIBRATION]),
        normalized(evaluation_x),
        torch.from_numpy(evaluation_y),
    )
    return LabData(*tensors, digest=digest_of(*tensors))
