"""What rankings against a reference say, in words and no further than the data reach."""

from collections.abc import Iterable, Sequence

from analysis.ranks import SAME_SCORES
from analysis.records import Agreement, Estimate, RankAgreement

COMPULSORY = ("size_only", "random")
BASELINES = (*COMPULSORY, "parameter_count")


def verdict(found: Agreement) -> tuple[str, ...]:
    """Say in sentences which metric to trust on this network.

    Rankings over all candidates decide. Two metrics are told apart by the paired difference of
    their taus over the same resampled layers, never by whether their intervals overlap; what
    cannot be told apart is not called equal.
    """
    overall = [found.overall(place) for place in range(len(found.metrics))]
    taus = {place: one.tau for place, one in enumerate(overall) if one.tau is not None}
    methods = {place: tau for place, tau in taus.items() if found.metrics[place] not in BASELINES}
    sentences: list[str] = []
    if methods:
        best = max(methods, key=lambda place: methods[place].value)
        sentences.append(_first(found, overall[best], methods[best], len(methods)))
        sentences += _others(found, best, methods)
        sentences += _chance(found, methods)
        sentences += _baselines(found, best, overall)
        sentences.append(_ceiling(found, methods))
    else:
        sentences.append(f"No metric can be compared with {found.title}.")
    sentences += _left_out(found, overall)
    if found.same_samples and methods:
        names = [
            one.title
            for place, one in enumerate(overall)
            if found.metrics[place] in found.same_samples and place in methods
        ]
        if names:
            sentences.append(
                f"{_listed(names)}: from the samples of the reference, so what is chance in these "
                "samples counts as agreement."
            )
    return tuple(sentences)


def _first(found: Agreement, best: RankAgreement, tau: Estimate, methods: int) -> str:
    what = f"τ = {_interval(tau)}, {100 * found.level:.0f} % interval over resampled layers"
    if tau.low <= 0:
        text = (
            f"No metric is shown to rank the layers as {found.title} does better than chance. "
            f"Highest is {best.title} on {best.layers} layers ({what})."
        )
    else:
        text = (
            f"{best.title} ranks the {best.layers} layers most nearly as {found.title} does "
            f"({what})."
        )
    if methods > 1:
        text += f" As the best of {methods} it is likely to look better than it is."
    return text


def _others(found: Agreement, best: int, methods: Iterable[int]) -> list[str]:
    close, worse, better = [], [], []
    for place in methods:
        lead = _lead(found, best, place)
        title = found.overall(place).title
        if place == best:
            continue
        if lead is None or lead.low <= 0 <= lead.high:
            close.append(title)
        elif lead.low > 0:
            worse.append(f"{title} by {_interval(lead)}")
        else:
            better.append(title)
    sentences = []
    if close:
        sentences.append(
            f"Not told apart from it by these layers: {_listed(close)}. That does not make them "
            "equal."
        )
    if worse:
        sentences.append(f"Shown to rank worse: {_listed(worse)}.")
    if better:
        sentences.append(f"Shown to rank better on the layers that both score: {_listed(better)}.")
    return sentences


def _chance(found: Agreement, methods: dict[int, Estimate]) -> list[str]:
    by_chance = [found.overall(p).title for p, t in methods.items() if t.low <= 0 <= t.high]
    reversed_ = [found.overall(p).title for p, t in methods.items() if t.high < 0]
    sentences = []
    if by_chance:
        sentences.append(
            f"Not shown to rank better than chance, their intervals hold 0: {_listed(by_chance)}."
        )
    if reversed_:
        sentences.append(f"Shown to rank the wrong way round: {_listed(reversed_)}.")
    return sentences


def _baselines(found: Agreement, best: int, overall: Sequence[RankAgreement]) -> list[str]:
    sentences = []
    name, tau = overall[best].title, overall[best].tau
    for place, one in enumerate(overall):
        if one.metric not in BASELINES:
            continue
        # Scores that rank no layer before another are what chance is: tau itself is the lead.
        level = one.reason == SAME_SCORES
        lead = tau if level else _lead(found, best, place)
        ranks_none = ", which ranks no layer before another," if level else ""
        if lead is None or lead.low <= 0 <= lead.high:
            by = "" if lead is None else f": the difference is {_interval(lead)}"
            sentences.append(
                f"{name} is not shown to beat {one.title}{ranks_none.rstrip(',')}{by}."
            )
        elif lead.low > 0:
            sentences.append(f"{name} beats {one.title}{ranks_none} by {_interval(lead)}.")
        else:
            sentences.append(
                f"{one.title}{ranks_none} beats {name}: the difference is {_interval(lead)}."
            )
    missing = [f"`{baseline}`" for baseline in COMPULSORY if baseline not in found.metrics]
    if missing:
        sentences.append(f"Not compared with the baseline {_listed(missing)}: score it as well.")
    return sentences


def _ceiling(found: Agreement, methods: Iterable[int]) -> str:
    if found.ceiling is None:
        return f"How well {found.title} agrees with itself is not known: {found.ceiling_reason}."
    at, ceiling = found.ceiling_at, found.ceiling
    text = (
        f"At {at.text} {found.title} from one half of its {found.n} samples agrees with that from "
        f"the other half by τ = {_interval(ceiling)}."
    )
    if ceiling.low <= 0:
        return f"{text} Its own ranking there is inside the noise: measure it on more samples."
    inside = []
    for place in methods:
        one = found.at(place, at)
        if one.tau is not None and one.tau.value >= ceiling.low:
            inside.append(f"{one.title} ({one.tau.value:.2f})")
    if inside:
        text += (
            f" As near to it as its halves to each other: {_listed(inside)}. What is left may be "
            "noise of the reference."
        )
    else:
        text += " No metric comes as near to it there."
    return text


def _left_out(found: Agreement, overall: Sequence[RankAgreement]) -> list[str]:
    sentences = [
        f"{one.title} is not ranked: {one.reason}."
        for one in overall
        if one.reason and (one.metric not in BASELINES or one.reason != SAME_SCORES)
    ]
    sentences += [
        f"{one.title} is compared on {one.layers} layers, {one.left_out} are scored by one of the "
        "two alone."
        for one in overall
        if one.left_out and not one.reason
    ]
    return sentences


def _lead(found: Agreement, first: int, second: int) -> Estimate | None:
    """Return by how much the first metric's tau exceeds the second's."""
    for each in found.differences:
        if (each.first, each.second) == (first, second):
            return each.tau
        if (each.first, each.second) == (second, first):
            return Estimate(value=-each.tau.value, low=-each.tau.high, high=-each.tau.low)
    return None


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
