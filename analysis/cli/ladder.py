"""The step ``ladder``: what methods measure beside each other, on one or several allocations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis import workflow
from analysis.cli.output import show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import Session, opened, read_recalibrations, settings, usage
from analysis.commands import changed_settings
from analysis.records import Allocation, Effect, Ladder, Rung
from analysis.workflow.ablation_words import accuracy_text, effect_text, seconds_text
from analysis.workflow.ladder_words import verdict


def ladder(call: Call) -> None:
    """Quantize by every method on every allocation, and measure on the same samples and seeds."""
    args = call.args
    quantizers, recalibrations = settings(call), read_recalibrations(call)
    with opened(call) as session:
        allocations = _allocations(session, args.allocation)
        with usage(call):
            plan = workflow.LadderPlan(
                allocations,
                tuple(args.method),
                args.reference,
                args.seeds,
                quantizers,
                recalibrations,
            )
        flags = {
            "allocation": args.allocation,
            "method": args.method,
            "reference": args.reference or None,
            "seeds": args.seeds if args.seeds > 1 else None,
            "recalibrate": ",".join(recalibrations),
            **changed_settings(quantizers),
        }
        step = workflow.ladder(session.workspace, session.study, plan, flags)
        found, cached = session.run(step)
    if args.out is not None:
        write(Path(args.out), to_json(found, indent=1).encode())
    show(args.json, _data(found) | {"cached": cached}, _text(found))


def _allocations(session: Session, texts: Sequence[str]) -> dict[str, Allocation]:
    """Return the allocations by label: the candidate, or the name of the file."""
    found: dict[str, Allocation] = {}
    for text in texts:
        label = text.partition(":")[2] or Path(text).stem
        found[label if label not in found else text] = session.allocation(text)
    return found


def _data(found: Ladder) -> dict[str, Any]:
    return {
        "reference": found.reference,
        "seeds": found.seeds,
        "n": found.n,
        "labelled": found.labelled,
        "float_top1": found.float_top1,
        "allocations": {
            label: {n: c.text for n, c in own.as_dict().items()}
            for label, own in found.allocations.items()
        },
        "settings": found.settings,
        "recalibrations": found.recalibrations,
        "measured": [_rung(each) for each in found.rungs],
        "absent": found.absent,
        "verdict": verdict(found),
        "seconds": found.seconds,
    }


def _rung(each: Rung) -> dict[str, Any]:
    return {
        "allocation": each.allocation,
        "method": each.method,
        "top1": each.top1.mean(),
        "low": each.low,
        "high": each.high,
        "agreement": each.agreement.mean(),
        "kl": each.kl.mean(),
        "quantize_seconds": each.seconds,
        "versus_float": _effect(each.versus_float),
        "versus_reference": _effect(each.versus_reference),
        "by_seed": {"top1": each.top1, "kl": each.kl},
        "notes": each.notes,
    }


def _effect(effect: Effect | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    return {
        "difference": effect.difference,
        "low": effect.low,
        "high": effect.high,
        "inside_the_noise": not effect.significant,
    }


def _text(found: Ladder) -> str:
    head = ("allocation", "method", "measured", "points to float", "points to the reference",
            "KL (nats)", "seconds")  # fmt: skip
    rows = [
        (
            each.allocation,
            each.method,
            accuracy_text(found, each),
            effect_text(each.versus_float),
            effect_text(each.versus_reference) or "the reference",
            f"{each.kl.mean():.3g}",
            seconds_text(each),
        )
        for each in found.rungs
    ]
    return "\n".join((table(head, rows, "<<>>>>>"), "", *verdict(found), f"{found.seconds:.1f} s"))
