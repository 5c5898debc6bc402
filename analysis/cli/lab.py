"""The step ``initialization``: what an initializer does to ranges and quantized accuracy."""

from pathlib import Path

from analysis import workflow
from analysis.cli.output import plain, show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import opened, usage
from analysis.initialization.effects import effects
from analysis.initialization.settings import DEFAULT_ARCHITECTURES, DEFAULT_INITIALIZERS
from analysis.initialization.summary import (
    TOO_FEW,
    Row,
    from_start_to_end,
    in_percent,
    summarise,
    too_few,
)
from analysis.records import InitRun
from analysis.records.initialization import FOLLOWED, KEPT, RECIPES
from analysis.workflow.initializing import OF_STUDY, judged


def initialization(call: Call) -> None:
    """Train networks from several initializers, or read what was trained, and sum it up."""
    args = call.args
    with opened(call) as session:
        lab = workflow.Lab(session.workspace, session.study if args.train_on == OF_STUDY else None)
        with usage(call):
            step = workflow.initialization(
                lab,
                _names(args.inits) or DEFAULT_INITIALIZERS,
                _names(args.architectures) or DEFAULT_ARCHITECTURES,
                seeds=args.seeds,
                epochs=args.epochs,
                workers=args.workers,
            )
        found, cached = session.run(step)
        measure = judged(session.workspace.store, lab, found)
    if args.out is not None:
        write(Path(args.out), to_json(found).encode())
    rows = summarise(found, measure)
    said = effects(found, 4 if 4 in rows[0].bits else rows[0].bits[0], measure)
    data = {
        "data": found.data,
        "runs": [_run(run) for run in found.runs],
        "summary": [plain(row) for row in rows],
        "effects": said,
        "cached": cached,
    }
    show(args.json, data, "\n".join([_table(rows), "", *said]))


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _run(run: InitRun) -> dict[str, object]:
    return {
        "init": run.initializer,
        "architecture": run.architecture,
        "seed": run.seed,
        "epochs": run.epochs,
        "diverged": run.diverged or None,
        "n": run.n,
        "float_accuracy": run.float_accuracy,
        "quantized_accuracy": {
            recipe: dict(
                zip(map(str, run.bits), plain(run.quantized_accuracy(recipe)), strict=True)
            )
            for recipe in RECIPES
        },
        "qce": {recipe: run.qce[i] for i, recipe in enumerate(RECIPES)},
        "qmse_isolated": {recipe: run.qmse_isolated[i] for i, recipe in enumerate(RECIPES)},
        "qmse_accumulated": {recipe: run.qmse_accumulated[i] for i, recipe in enumerate(RECIPES)},
        "layers": [
            {"name": name, "kind": kind}
            | {
                role: {
                    when: {k: run.statistic(role, k)[epoch, place] for k in KEPT}
                    for when, epoch in (("init", 0), ("end", run.epochs))
                }
                for role in FOLLOWED
            }
            for place, (name, kind) in enumerate(zip(run.layers, run.kinds, strict=True))
        ],
        "seconds": run.seconds,
    }


def _table(rows: tuple[Row, ...]) -> str:
    head = (
        "initializer",
        "architecture",
        "runs",
        "float (%)",
        *(f"q{bits} lost" for bits in rows[0].bits),
        "weight range",
        "ACP",
    )
    lines = [
        (
            row.initializer,
            row.architecture,
            f"{row.runs}"
            + (f", {row.diverged} diverged" if row.diverged else "")
            + (f", {row.failed} failed" if row.failed else ""),
            in_percent(row.accuracy),
            *(in_percent(each) for each in row.drop[0]),
            from_start_to_end(row.weight_range, ".3g"),
            from_start_to_end(row.acp, ".2f"),
        )
        for row in rows
    ]
    sides = "<<<>" + ">" * len(rows[0].bits) + ">>"
    return (
        f"{table(head, lines, sides)}\nLost: points of accuracy at per-tensor min-max, mean over "
        "the seeds with half its 95 % interval; ranges and channel precision at the start and end."
        + (f"\n{TOO_FEW}" if too_few(rows) else "")
    )
