"""Round to nearest: every value goes to the closest level of its quantizer."""

from analysis.events import Progress, Work
from analysis.options import Options
from analysis.ptq.task import PTQ_METHODS, PTQTask
from analysis.quant.configure import Quantization, quantize_nearest


@PTQ_METHODS.register(
    "nearest",
    title="Round to nearest",
    answers="What does the network measure with calibrated ranges and no further correction?",
    reference="Nagel et al. 2021, arXiv:2106.08295",
)
def nearest(task: PTQTask, options: Options) -> Work[Quantization]:
    """Estimate ranges by the settings' estimators and round; no weight is trained."""
    del options
    yield Progress(0, 1, "estimating ranges")
    result = quantize_nearest(
        task.network,
        task.allocation,
        task.statistics,
        task.settings,
        task.estimates,
        task.element_scores,
    )
    yield Progress(1, 1, "ranges estimated")
    return result
