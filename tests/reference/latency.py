"""Latency tables as tests write them."""

from analysis.records import Candidate, LatencyRow, LatencyTable, Layer, LayerTable


def times(*rows: tuple[str, str, float]) -> LatencyTable:
    """Return rows of (layer or shape, candidate, microseconds); a shape has a colon."""
    return LatencyTable(
        rows=tuple(
            LatencyRow(
                layer="" if ":" in what else what,
                shape=what if ":" in what else "",
                candidate=Candidate.parse(text),
                ns=round(us * 1000),
            )
            for what, text, us in rows
        ),
        source="`mine.csv`",
    )


def conv_table(*channels: int, calls: dict[str, int] | None = None) -> LayerTable:
    """Return 1x1 convolutions a, b, c, ... of one input channel on 10 x 10 pixels."""
    layers = []
    for place, count in enumerate(channels):
        name = "abcdefgh"[place]
        n = (calls or {}).get(name, 1)
        layers.append(
            Layer(
                name=name,
                kind="conv2d",
                weight_name=f"{name}.weight",
                weight_shape=(count, 1, 1, 1),
                channel_axis=0,
                output_shape=(count, 10, 10),
                num_weights=count,
                num_biases=0,
                macs=100 * count * n,
                activation_group=place,
                calls=tuple(range(n)),
                inputs=(place,),
            )
        )
    return LayerTable(
        model="convs",
        layers=tuple(layers),
        tensors=(),
        skipped=(),
        params_before_folding=sum(channels),
        params_after_folding=sum(channels),
    )
