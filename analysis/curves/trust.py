"""How far a metric's predictions may be trusted, in words."""

from collections import Counter

from analysis.prediction_error import Calibration
from analysis.records import Estimate


def trust(calibration: Calibration, title: str) -> tuple[str, ...]:
    """Say in sentences what the predictions of a metric were worth where they were measured.

    Args:
        calibration: Predictions against measurements.
        title: What to call the metric.
    """
    found = [_ranking(calibration, title)]
    if calibration.rho is not None:
        found += [_within(calibration), _law(calibration), _ratio(calibration)]
    if calibration.left_out:
        are = "allocation is" if calibration.left_out == 1 else "allocations are"
        found.append(
            f"{calibration.left_out} measured {are} left out: not all candidates scored, or "
            "quantized in another way than the scores assume."
        )
    return tuple(filter(None, found))


def _ranking(calibration: Calibration, title: str) -> str:
    rho = calibration.rho
    if rho is None:
        return f"Predictions of {title} are not judged: {calibration.reason}."
    return (
        f"Over {len(calibration.points)} measured allocations {title} ranks the measured KL with "
        f"Spearman {correlation_text('ρ', rho)}; where their sizes differ, that fewer bits are "
        "worse is most of it."
    )


def correlation_text(symbol: str, found: Estimate) -> str:
    """Return a rank correlation with its interval, which few points in order do not have."""
    value = f"{symbol} = {found.value:.2f}"
    # Resamples of points in perfect order are in perfect order, however few they are.
    if found.low == found.high:
        return f"{value} (no interval: all in order)"
    return f"{value} ({found.low:.2f} to {found.high:.2f})"


def _within(calibration: Calibration) -> str:
    tau = calibration.within
    if tau is None:
        return ""
    noise = "" if tau.low > 0 else ", inside the noise of no ranking at all"
    groups = Counter(point.group for point in calibration.drawn)
    paired = sum(n for n in groups.values() if n > 1)  # alone in a budget, one ranks nothing
    return (
        f"Among {paired} random allocations, each compared within its budget, "
        f"Kendall's {correlation_text('τ', tau)}{noise}."
    )


def _law(calibration: Calibration) -> str:
    law = calibration.law
    if law is None:
        return (
            "No line is fitted: too few allocations have a positive prediction, or all have the "
            "same."
        )
    used = "" if law.n == len(calibration.points) else f" ({law.n} that are positive)"
    return (
        f"Read through the fitted line{used}, measured KL growing with the prediction to the power "
        f"of {law.slope:.2f}, each was typically off by a factor of {law.factor:.2f} (median, each "
        "left out of the fit in turn)."
    )


def _ratio(calibration: Calibration) -> str:
    if calibration.ratio is None or calibration.spread is None:
        return ""
    return (
        f"Without the line: measured KL is {calibration.ratio:.3g} times the prediction (nats over "
        f"{calibration.unit}, median); half of the allocations lie within a factor of "
        f"{calibration.spread:.2g} of that."
    )
