"""Sensitivity metrics, one per file; importing the package registers them."""

from analysis.sensitivity import hessian_attention as hessian_attention
from analysis.sensitivity import output_kl as output_kl
from analysis.sensitivity.task import METRICS, SensitivityTask

__all__ = ["METRICS", "SensitivityTask"]
