"""The step ``ablation``: what single choices of a method are worth."""

from pathlib import Path
from typing import Any

from analysis import workflow
from analysis.cli.method_flags import chosen, read_options
from analysis.cli.output import show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import opened, read_recalibrations, settings, usage
from analysis.ptq import PTQ_METHODS
from analysis.records import Ablation, Variant
from analysis.workflow.ablation_words import (
    accuracy_text,
    effect_text,
    seconds_text,
    setting,
    variant_text,
    verdict,
    what,
)


def ablation(call: Call) -> None:
    """Train and measure a method and its variants on the same samples and seeds."""
    args = call.args
    method = chosen(call, PTQ_METHODS, args.method)
    options = read_options(call, method=method)["method"]
    quantizers, recalibrations = settings(call), read_recalibrations(call)
    with opened(call) as session:
        allocation = session.allocation(args.allocation)
        recipe = workflow.Recipe(
            allocation, method.name, options, quantizers, recalibrations, args.allocation
        )
        with usage(call):
            plan = workflow.AblationPlan(recipe, tuple(args.variant), args.seeds)
        step = workflow.ablation(session.workspace, session.study, plan)
        found, cached = session.run(step)
    if args.out is not None:
        write(Path(args.out), to_json(found, indent=1).encode())
    show(args.json, _data(found) | {"cached": cached}, _text(found))


def _data(found: Ablation) -> dict[str, Any]:
    return {
        "method": found.method,
        "options": found.base,
        "allocation": {n: c.text for n, c in found.allocation.as_dict().items()},
        "recalibrations": found.recalibrations,
        "settings": found.settings,
        "seeds": found.seeds,
        "n": found.n,
        "labelled": found.labelled,
        "variants": [_variant(each) for each in found.variants],
        "absent": found.absent,
        "verdict": verdict(found),
        "seconds": found.seconds,
    }


def _variant(each: Variant) -> dict[str, Any]:
    effect = each.effect
    return {
        "name": variant_text(each.changes),
        "changes": each.changes,
        "top1": each.top1.mean(),
        "low": each.low,
        "high": each.high,
        "agreement": each.agreement.mean(),
        "kl": each.kl.mean(),
        "seconds": each.seconds,
        "versus_base": None
        if effect is None
        else {
            "difference": effect.difference,
            "low": effect.low,
            "high": effect.high,
            "inside_the_noise": not effect.significant,
        },
        "by_seed": {"top1": each.top1, "kl": each.kl}
        | ({} if effect is None else {"difference": effect.by_seed}),
        "notes": each.notes,
    }


def _text(found: Ablation) -> str:
    rows = [
        (
            variant_text(each.changes),
            accuracy_text(found, each),
            effect_text(each.effect),
            f"{each.kl.mean():.3g}",
            seconds_text(each),
        )
        for each in found.variants
    ]
    against = f"points of {what(found)} against the base, paired"
    head = ("variant", "measured", against, "KL (nats)", "training (s)")
    lines = [table(head, rows, "<>>>>"), "", *verdict(found), setting(found)]
    lines += [f"base: {note}" for note in found.variants[0].notes]
    return "\n".join((*lines, f"{found.seconds:.1f} s"))
