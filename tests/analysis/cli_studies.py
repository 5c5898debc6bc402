"""A study small enough that every step of the command line takes a moment, and how to run one."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from analysis.cli import main

MODEL = "factory:tests.analysis.cli_studies:build"
CLASSES = 3


def build() -> nn.Module:
    """Three layers and a BatchNorm, always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, CLASSES),
        )


def images(path: Path, n: int, seed: int, **more: Any) -> Path:
    x = np.random.default_rng(seed).integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    np.savez(path, **({"x": x, "y": np.arange(n) % CLASSES} | more))
    return path


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as strict JSON: one object and nothing else."""

        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is no JSON")

        return json.loads(self.out, parse_constant=refuse)


def say(*words: object) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(word) for word in words])
    return Said(status, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Lab:
    """A folder with two sets of images and a store."""

    folder: Path

    @property
    def study(self) -> list[str]:
        return [
            *("--model", MODEL),
            *("--calibration", f"npz:{self.folder / 'calibration.npz'}"),
            *("--evaluation", f"npz:{self.folder / 'evaluation.npz'}"),
        ]

    @property
    def store(self) -> list[str]:
        return ["--cache-dir", str(self.folder / "store")]

    def __call__(self, step: str, *words: object) -> Said:
        return say(step, *self.study, *self.store, *words)

    def json(self, step: str, *words: object) -> Any:
        said = self(step, "--json", *words)
        assert said.status == 0, said.err
        return said.json


def make_lab(folder: Path) -> Lab:
    images(folder / "calibration.npz", 12, seed=1)
    images(folder / "evaluation.npz", 30, seed=2)
    return Lab(folder)
