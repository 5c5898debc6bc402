"""Sony MCT's activation Hessian scores of the CIFAR-10 ResNet-20, as JSON; run by its own Python.

PYTHON mct_scores.py WEIGHTS IMAGES.npz N PROBES
"""

import json
import logging
import sys
from time import perf_counter

import numpy as np
import torch

import tests.peers.mct_ready  # noqa: F401
from tests.peers.mct_network import images as images_of
from tests.peers.mct_network import resnet20

# isort: split
import model_compression_toolkit as mct
from model_compression_toolkit.core import QuantizationConfig
from model_compression_toolkit.core.common.hessian import (
    HessianInfoService,
    HessianMode,
    HessianScoresGranularity,
    HessianScoresRequest,
)
from model_compression_toolkit.core.graph_prep_runner import graph_preparation_runner
from model_compression_toolkit.core.pytorch.default_framework_info import (
    DEFAULT_PYTORCH_INFO,
)
from model_compression_toolkit.core.pytorch.pytorch_device_config import (
    set_working_device,
)
from model_compression_toolkit.core.pytorch.pytorch_implementation import (
    PytorchImplementation,
)
from model_compression_toolkit.target_platform_capabilities.targetplatform2framework.attach2pytorch import (  # noqa: E501
    AttachTpcToPytorch,
)


def main(weights: str, images: str, n: int, probes: int) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    set_working_device("cpu")
    model, x = resnet20(weights), images_of(images, n)

    def batches():
        yield [x.numpy()]

    capabilities = mct.get_target_platform_capabilities(tpc_version="1.0", device_type="imx500")
    attached = AttachTpcToPytorch().attach(capabilities, None)
    framework = PytorchImplementation()
    graph = graph_preparation_runner(
        model, batches, QuantizationConfig(), DEFAULT_PYTORCH_INFO, framework, attached
    )
    nodes = [
        node
        for node in graph.get_topo_sorted_nodes()
        if node.type in (torch.nn.Conv2d, torch.nn.Linear)
    ]
    convolutions = [node for node in nodes if node.type is torch.nn.Conv2d]

    def scores(count: int):
        service = HessianInfoService(
            graph=graph, fw_impl=framework, num_iterations_for_approximation=count
        )
        request = HessianScoresRequest(
            mode=HessianMode.ACTIVATION,
            granularity=HessianScoresGranularity.PER_TENSOR,
            target_nodes=convolutions,
            data_loader=framework.convert_data_gen_to_dataloader(batches, batch_size=n),
            n_samples=n,
        )
        return service.fetch_hessian(request)

    scores(3)  # the first backward passes pay for caches
    begin = perf_counter()
    found = scores(probes)
    seconds = perf_counter() - begin
    rows = [np.asarray(found[node.name]).reshape(n).tolist() for node in convolutions]
    print(
        json.dumps(
            {"names": [node.name for node in convolutions], "scores": rows, "seconds": seconds}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
