"""The step ``demo``: how the shipped weights were made."""

from pathlib import Path

import torch

from analysis.cli.output import show, table
from analysis.cli.parser import Call
from analysis.cli.progress import Reporter
from analysis.errors import UnknownNameError
from analysis.models.training import RECIPES, train_demo


def demo(call: Call) -> None:
    """Train demo networks and write their weights."""
    args = call.args
    names = args.network or list(RECIPES)
    for name in names:
        if name not in RECIPES:
            call.refuse(str(UnknownNameError("demo network", name, RECIPES)))
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    reporter = Reporter()
    trained = []
    for name in names:
        path = None if args.out is None else Path(args.out) / f"{name}.safetensors"
        work = train_demo(name, seed=args.seed, epochs=args.epochs, path=path)
        trained.append(reporter.run(work)[0])
    data = {
        "trained": [
            {
                "name": t.name,
                "seed": t.seed,
                "epochs": t.epochs,
                "accuracy": t.accuracy,
                "n": t.n,
                "path": t.path,
            }
            for t in trained
        ]
    }
    rows = [
        (t.name, str(t.epochs), str(t.seed), f"{100 * t.accuracy:.2f} %", str(t.n), t.path)
        for t in trained
    ]
    head = ("network", "epochs", "seed", "top-1", "n", "file")
    show(args.json, data, table(head, rows, "<>>>><"))
