"""The CIFAR-10 ResNet-20 quantized by Sony MCT, as predictions in JSON; run by its own Python.

PYTHON mct_gptq.py WEIGHTS CALIBRATION.npz EVALUATION.npz N BITS STEPS

All weights but those of the first and the last layer get BITS, these and activations 8; STEPS 0 is
rounding to nearest, otherwise its gradient-based PTQ under its defaults, in batches of 32.
"""

import json
import logging
import sys
from time import perf_counter

import torch

import tests.peers.mct_ready  # noqa: F401
from tests.peers.mct_network import images, resnet20

# isort: split
import model_compression_toolkit as mct
from model_compression_toolkit.core import BitWidthConfig, CoreConfig
from model_compression_toolkit.core.common.network_editors import (
    NodeNameFilter,
    NodeTypeFilter,
)
from model_compression_toolkit.core.pytorch.pytorch_device_config import (
    set_working_device,
)

BATCH, FIRST = 32, "conv1_bn"


def main(weights: str, calibration: str, evaluation: str, n: int, bits: int, steps: int) -> None:
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    set_working_device("cpu")
    x = images(calibration, n)

    def batches():
        for batch in x.split(BATCH):
            yield [batch.numpy()]

    widths = BitWidthConfig()
    widths.set_manual_weights_bit_width(NodeTypeFilter(torch.nn.Conv2d), bits, "weight")
    widths.set_manual_weights_bit_width(NodeNameFilter(FIRST), 8, "weight")
    common = {
        "core_config": CoreConfig(bit_width_config=widths),
        "target_platform_capabilities": mct.get_target_platform_capabilities(
            tpc_version="1.0", device_type="imx500"
        ),
    }
    begin = perf_counter()
    if steps:
        epochs = steps * BATCH // n
        quantized, _ = mct.gptq.pytorch_gradient_post_training_quantization(
            resnet20(weights),
            batches,
            gptq_config=mct.gptq.get_pytorch_gptq_config(n_epochs=epochs),
            **common,
        )
    else:
        quantized, _ = mct.ptq.pytorch_post_training_quantization(
            resnet20(weights), batches, **common
        )
    seconds = perf_counter() - begin
    with torch.no_grad():
        predictions = quantized.eval()(images(evaluation)).argmax(1).tolist()
    print(json.dumps({"predictions": predictions, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
