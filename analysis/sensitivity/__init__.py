"""Sensitivity metrics, one per file; importing the package registers them, in this order."""

# isort: off
from analysis.sensitivity import hessian_attention as hessian_attention
from analysis.sensitivity import hessian_attention_diagonal as hessian_attention_diagonal
from analysis.sensitivity import hessian_attention_channel as hessian_attention_channel
from analysis.sensitivity import fisher_output as fisher_output
from analysis.sensitivity import gauss_newton as gauss_newton
from analysis.sensitivity import gradient_l1 as gradient_l1
from analysis.sensitivity import hessian_trace as hessian_trace
from analysis.sensitivity import hessian_eigenvalue as hessian_eigenvalue
from analysis.sensitivity import output_kl as output_kl
from analysis.sensitivity import output_sqnr as output_sqnr
from analysis.sensitivity import loss_increase as loss_increase
from analysis.sensitivity import accuracy_drop as accuracy_drop
from analysis.sensitivity import clado as clado
from analysis.sensitivity import layer_mse as layer_mse
from analysis.sensitivity import layer_sqnr as layer_sqnr
from analysis.sensitivity import weight_mse as weight_mse
from analysis.sensitivity import orthogonality as orthogonality
from analysis.sensitivity import limpq_proxy as limpq_proxy
from analysis.sensitivity import masked_kl as masked_kl
from analysis.sensitivity import layer_gradient_x_activation as layer_gradient_x_activation
from analysis.sensitivity import layer_conductance as layer_conductance
from analysis.sensitivity import internal_influence as internal_influence
from analysis.sensitivity import size_only as size_only
from analysis.sensitivity import parameter_count as parameter_count
from analysis.sensitivity import random_scores as random_scores

# isort: on
from analysis.sensitivity.task import METRICS, SensitivityTask

__all__ = ["METRICS", "SensitivityTask"]
