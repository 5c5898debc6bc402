"""Everything that is stored, plotted or exported: frozen records with read-only arrays.

Symbols in shapes: N samples, L layers, C candidates. No module and no tensor is ever inside a
record. ``schema`` is raised when the fields of a record change meaning.
"""

from analysis.records.ablation import Ablation, Effect, Repeated, Variant
from analysis.records.agreement import Agreement, Estimate, RankAgreement, RankDifference
from analysis.records.allocation import Allocation, Baseline, Budget, BudgetUse, Costs, Solution
from analysis.records.base import BoolArray, FloatArray, IntArray, Record
from analysis.records.candidates import FLOAT, Candidate, QuantSettings
from analysis.records.curve import Absent, Curve, CurvePoint, Measured, Series
from analysis.records.distributions import (
    Distribution,
    Distributions,
    GridError,
    Place,
    RangeExploration,
)
from analysis.records.front import Front, FrontPoint
from analysis.records.initialization import InitRun, InitStudy
from analysis.records.inspection import Attributions, Inspection
from analysis.records.ladder import Ladder, Rung
from analysis.records.latency import LatencyRow, LatencyTable
from analysis.records.layers import (
    ActivationTensor,
    Arithmetic,
    Layer,
    LayerTable,
    Moment,
    Skipped,
)
from analysis.records.measurement import (
    Configuration,
    Contest,
    Evaluation,
    FloatOutputs,
    Paired,
    TensorRange,
)
from analysis.records.outputs import LayerErrors, OutputChanges
from analysis.records.recovery import Recovery
from analysis.records.scores import NOISE, ScoreTable
from analysis.records.storage import Storage, Stored, StoredLayer
from analysis.records.study import DataRef, ModelRef, Study, StudySpec
from analysis.records.trained import Trained

__all__ = [
    "FLOAT",
    "NOISE",
    "Ablation",
    "Absent",
    "ActivationTensor",
    "Agreement",
    "Allocation",
    "Arithmetic",
    "Attributions",
    "Baseline",
    "BoolArray",
    "Budget",
    "BudgetUse",
    "Candidate",
    "Configuration",
    "Contest",
    "Costs",
    "Curve",
    "CurvePoint",
    "DataRef",
    "Distribution",
    "Distributions",
    "Effect",
    "Estimate",
    "Evaluation",
    "FloatArray",
    "FloatOutputs",
    "Front",
    "FrontPoint",
    "GridError",
    "InitRun",
    "InitStudy",
    "Inspection",
    "IntArray",
    "Ladder",
    "LatencyRow",
    "LatencyTable",
    "Layer",
    "LayerErrors",
    "LayerTable",
    "Measured",
    "ModelRef",
    "Moment",
    "OutputChanges",
    "Paired",
    "Place",
    "QuantSettings",
    "RangeExploration",
    "RankAgreement",
    "RankDifference",
    "Record",
    "Recovery",
    "Repeated",
    "Rung",
    "ScoreTable",
    "Series",
    "Skipped",
    "Solution",
    "Storage",
    "Stored",
    "StoredLayer",
    "Study",
    "StudySpec",
    "TensorRange",
    "Trained",
    "Variant",
]
