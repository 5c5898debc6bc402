"""What a method changed in words, for pages and the command line alike."""

import numpy as np

from analysis.records import Recovery


def sentences(found: Recovery) -> list[str]:
    """Return what moved, where the error fell and where it rose."""
    return [each for each in (_moved(found), _split(found), *_errors(found)) if each]


def setting(found: Recovery) -> str:
    """Say what the errors are of, and on which samples."""
    samples = f"{found.n:,} calibration sample{'' if found.n == 1 else 's'}"
    return (
        f"Errors of layer outputs are accumulated: every layer before is quantized too. They are "
        f"relative to the variance of the float outputs, on {samples} "
        f"({found.calibration[:8]}), which the method has seen."
    )


def percent(share: float) -> str:
    """Return a share as a percentage of three digits."""
    return f"{100 * share:.3g} %"


def _moved(found: Recovery) -> str:
    if not np.isfinite(found.moved).any():
        return "No weight is quantized, so none is rounded."
    if found.share == 0:
        said = "Every weight is rounded to the level nearest to it"
        return f"{said} on its grid." if found.split else f"{said}, as rounding to nearest does."
    most = int(np.nanargmax(found.moved))
    return (
        f"{percent(found.share)} of the weights are not rounded to the level nearest to them, most "
        f"in `{found.layers[most]}` ({percent(found.moved[most])})."
    )


def _split(found: Recovery) -> str:
    if not found.split:
        return ""
    which = "1 weight is" if len(found.split) == 1 else f"{len(found.split)} weights are"
    return (
        f"{which} the sum of two parts, each on a grid that rounding to nearest does not have: "
        "8-bit centre taps, and the rest, whose codes are counted here."
    )


def _errors(found: Recovery) -> list[str]:
    known = np.flatnonzero(np.isfinite(found.gain))
    if found.n == 1:
        return [
            "Errors are relative to what an output varies from sample to sample, which one sample "
            "does not tell: use more calibration samples."
        ]
    if not known.size:
        return ["No layer's output has an error that can be compared."]
    better = known[found.gain[known] > 0]
    worse = known[found.gain[known] < 0]
    if not better.size and not worse.size:
        return ["Every layer's output is as far from float as rounded to nearest."]
    text = f"The output of {better.size} of {known.size} layers is nearer to float than rounded "
    text += f"to nearest, by {np.median(found.gain[known]):.1f} dB in the median of all."
    last = int(known[-1])
    said = [
        text,
        f"The error of the last of them, `{found.layers[last]}`, went from "
        f"{percent(found.before[last])} to {percent(found.after[last])} of the variance.",
    ]
    if worse.size:
        worst = int(worse[found.gain[worse].argmin()])
        said.append(
            f"{worse.size} {'layer is' if worse.size == 1 else 'layers are'} farther from float, "
            f"{'' if worse.size == 1 else 'most '}`{found.layers[worst]}`: "
            f"{percent(found.before[worst])} before, {percent(found.after[worst])} after."
        )
    return said
