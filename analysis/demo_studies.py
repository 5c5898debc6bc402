"""The embedded studies: what a newcomer can open without any file."""

from dataclasses import dataclass

from analysis.commands import DEMO
from analysis.records import StudySpec


@dataclass(frozen=True, slots=True)
class DemoStudy:
    """An embedded study with what it shows."""

    title: str
    about: str
    spec: StudySpec


def _spec(name: str) -> StudySpec:
    return StudySpec(
        name=f"Demo: {name}",
        model=f"demo:{name}",
        calibration=DEMO.calibration,
        evaluation=DEMO.evaluation,
        normalize=DEMO.normalize,
    )


DEMOS = (
    DemoStudy(
        "Residual network",
        "Convolutions with BatchNorm and shortcuts, 16 layers, 104 k parameters. Shows folding and "
        "residual additions on quantized tensors.",
        _spec("digits-resnet"),
    ),
    DemoStudy(
        "Depthwise separable network",
        "Inverted residuals as in MobileNet, 18 layers, 39 k parameters. Depthwise layers are the "
        "first to suffer.",
        _spec("digits-mobilenet"),
    ),
    DemoStudy(
        "Vision transformer",
        "Attention with packed projections, 18 layers, 78 k parameters. Shows what stays float: "
        "norms and the attention products.",
        _spec("digits-vit"),
    ),
)
