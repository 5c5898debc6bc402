"""Recalibrations, one per file: they change distributions before a network is quantized."""

from analysis.recalibration import absorption as absorption
from analysis.recalibration import bounded_relu as bounded_relu
from analysis.recalibration import equalization as equalization
from analysis.recalibration import reestimation as reestimation
from analysis.recalibration.task import RECALIBRATIONS, RecalibrationTask

__all__ = ["RECALIBRATIONS", "RecalibrationTask"]
