"""Small records to draw, built by hand."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.records import (
    ActivationTensor,
    Allocation,
    Candidate,
    Configuration,
    Costs,
    Evaluation,
    Layer,
    LayerTable,
    Paired,
    QuantSettings,
    ScoreTable,
)

W2, W4, W8 = (Candidate.parse(text) for text in ("w2a8", "w4a8", "w8a8"))
NAMES = ("stem", "layer1.0.conv1", "layer1.0.conv2", "fc")


def score_table(
    values: Sequence[object],
    *,
    stderr: Sequence[object] | None = None,
    per_sample: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    candidates: Sequence[Candidate] = (),
) -> ScoreTable:
    numbers = np.array(values, dtype=np.float64)
    return ScoreTable(
        metric="invented",
        title="Invented metric",
        unit="nats",
        layers=tuple(names or (f"layer{at}.conv" for at in range(len(numbers)))),
        candidates=tuple(candidates),
        values=numbers,
        stderr=None if stderr is None else np.array(stderr, dtype=np.float64),
        per_sample=per_sample,
        per_sample_unit="nats per sample",
        exact=True,
        protocol="isolated",
        n=1234,
        seed=7,
        forward_passes=1,
        backward_passes=1,
        seconds=0.1,
        options={},
        settings=QuantSettings(),
        calibration="digest",
    )


def layer_table(names: Sequence[str] = NAMES) -> LayerTable:
    layers = tuple(
        Layer(
            name=name,
            kind="conv2d",
            weight_name=f"{name}.weight",
            weight_shape=(1, 1, 1, 1),
            channel_axis=0,
            output_shape=(1, 1, 1),
            num_weights=100 * (at + 1),
            num_biases=1,
            macs=10,
            activation_group=0,
            calls=(at,),
            inputs=(0,),
            pinned=at in (0, len(names) - 1),
        )
        for at, name in enumerate(names)
    )
    tensor = ActivationTensor(
        id=0, call=-1, slot=0, produced_by="input", shape=(1,), readers=tuple(names)
    )
    return LayerTable(
        model="demo",
        layers=layers,
        tensors=(tensor,),
        skipped=(),
        params_before_folding=1,
        params_after_folding=1,
    )


def evaluation(top1: float, *, n: int = 500, agreement: float = 0.9) -> Evaluation:
    labelled = bool(np.isfinite(top1))
    return Evaluation(
        n=n,
        labelled=labelled,
        top1=top1,
        low=top1 - 0.03,
        high=top1 + 0.01,
        loss=0.1,
        kl=0.0123,
        predictions=np.zeros(n, dtype=np.int64),
        correct=np.zeros(n, dtype=np.bool_),
        versus_float=Paired(
            difference=0.0,
            low=0.0,
            high=0.0,
            agreement=agreement,
            p_value=1.0,
            only_first=0,
            only_second=0,
        ),
        evaluation="digest",
        seconds=1.0,
    )


def configuration(
    candidates: Sequence[Candidate],
    *,
    size: float = 0.5,
    top1: float = 0.9,
    names: Sequence[str] = NAMES,
) -> Configuration:
    return Configuration(
        name="invented",
        study="digest",
        method="nearest",
        options={},
        settings=QuantSettings(),
        allocation=Allocation(layers=tuple(names), candidates=tuple(candidates)),
        costs=Costs(
            size_mib=size,
            size_ratio=0.5,
            compression=8.0,
            bops=1.5e9,
            bops_ratio=0.5,
            avg_weight_bits=4.25,
            avg_activation_bits=8.0,
        ),
        ranges=(),
        measured=evaluation(top1),
        seconds=1.0,
    )


def title(figure: go.Figure) -> str:
    return str(figure.layout.title.text)


def named(count: int) -> tuple[str, ...]:
    return tuple(
        f"backbone.stages.{at // 50}.blocks.{at % 50}.attention.projection" for at in range(count)
    )
