"""Post-training quantization methods, one per file; importing the package registers them."""

from analysis.ptq import adaround as adaround
from analysis.ptq import bias_correction as bias_correction
from analysis.ptq import brecq as brecq
from analysis.ptq import coarse_fine as coarse_fine
from analysis.ptq import eptq as eptq
from analysis.ptq import gpfq as gpfq
from analysis.ptq import gptq as gptq
from analysis.ptq import nearest as nearest
from analysis.ptq.task import PTQ_METHODS, PTQTask

__all__ = ["PTQ_METHODS", "PTQTask"]
