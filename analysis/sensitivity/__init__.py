"""Sensitivity metrics, one per file; importing the package registers them, in this order."""

# isort: off
from analysis.sensitivity import hessian_attention as hessian_attention
from analysis.sensitivity import hessian_attention_diagonal as hessian_attention_diagonal
from analysis.sensitivity import hessian_attention_channel as hessian_attention_channel
from analysis.sensitivity import output_kl as output_kl
from analysis.sensitivity import output_sqnr as output_sqnr
from analysis.sensitivity import loss_increase as loss_increase
from analysis.sensitivity import accuracy_drop as accuracy_drop
from analysis.sensitivity import layer_mse as layer_mse
from analysis.sensitivity import layer_sqnr as layer_sqnr
from analysis.sensitivity import weight_mse as weight_mse

# isort: on
from analysis.sensitivity.task import METRICS, SensitivityTask

__all__ = ["METRICS", "SensitivityTask"]
