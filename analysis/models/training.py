"""How the shipped demo weights were made, so that anyone can make them again.

``result(train_demo("digits-vit"))`` trains one network on the embedded digits, in minutes on two
cores. The last epoch's weights are kept; the evaluation split is read once, after them.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.data.digits import load_split
from analysis.errors import OptionError, UnknownNameError
from analysis.events import Events, Finished, Progress, Started
from analysis.models.demo import DEMO_MEAN, DEMO_STD, build, normalized, weights_path
from analysis.records import Record

BATCH = 50
LABEL_SMOOTHING = 0.05
WEIGHT_DECAY = 0.05
WARMUP = 0.1  # share of the steps
# Largest random turn in radians, change of size and shift as shares of the image.
TURN, ZOOM, SHIFT = 0.2, 0.12, 0.1


@dataclass(frozen=True, slots=True)
class Recipe:
    """What differs between the networks: epochs and the highest learning rate."""

    epochs: int
    learning_rate: float


RECIPES = {
    "digits-resnet": Recipe(epochs=50, learning_rate=3e-3),
    "digits-mobilenet": Recipe(epochs=70, learning_rate=4e-3),
    "digits-vit": Recipe(epochs=200, learning_rate=2e-3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedDemo(Record):
    """A trained demo network: ``accuracy`` in 0..1 on the ``n`` images of the evaluation split."""

    name: str
    seed: int
    epochs: int
    accuracy: float
    n: int
    path: str


def train_demo(
    name: str, *, seed: int = 0, epochs: int | None = None, path: Path | None = None
) -> Events[TrainedDemo]:
    """Train a demo network on the digits and write its weights as safetensors.

    AdamW (arXiv:1711.05101) under a cosine schedule with linear warm-up, smoothed labels, small
    random turns, zooms and shifts. Progress names the mean training loss (nats) and the accuracy
    on the calibration split, which is held out but used for no choice. On the CPU, equal seeds give
    equal weights bit for bit for one version of torch and one number of threads.

    Args:
        name: One of :data:`analysis.models.demo.DEMO_MODELS`.
        seed: Seed of the initial weights, the order of the images and the augmentation.
        epochs: Passes over the training split; the network's recipe when left out.
        path: File to write; the shipped weights' own place when left out.

    Yields:
        ``Started``, one ``Progress`` an epoch, ``Finished`` with the record of what was written.

    Raises:
        UnknownNameError: If there is no demo network of this name.
        OptionError: If ``epochs`` is below 1.
    """
    if name not in RECIPES:
        raise UnknownNameError("demo network", name, RECIPES)
    recipe = RECIPES[name]
    epochs = recipe.epochs if epochs is None else epochs
    if epochs < 1:
        raise OptionError(f"`epochs` must be at least 1, got {epochs}.")
    path = weights_path(name) if path is None else path
    yield Started("train_demo", f"Train {name}")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(name)
    generator = torch.Generator().manual_seed(seed)
    images, labels = _tensors("train")
    steps = epochs * math.ceil(len(images) / BATCH)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    for epoch in range(1, epochs + 1):
        loss = _train_epoch(model, images, labels, optimizer, schedule, generator)
        held_out, n = _correct(model, "calibration")
        message = f"train loss {loss:.3f}, held-out accuracy {held_out / n:.1%} of {n}"
        yield Progress(epoch, epochs, message)

    correct, n = _correct(model, "evaluation")
    trained = TrainedDemo(
        name=name, seed=seed, epochs=epochs, accuracy=correct / n, n=n, path=str(path)
    )
    _write(model, trained, path)
    yield Finished(trained)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, zoom and shift each image at random; what enters from outside is background.

    Args:
        images: Normalized images, shape (N, 1, H, W).
        generator: Source of the random numbers.

    Returns:
        Images of the same shape, resampled bilinearly.
    """
    turn, zoom, right, down = (2 * torch.rand(4, len(images), generator=generator) - 1).unbind()
    cosine, sine = torch.cos(TURN * turn), torch.sin(TURN * turn)
    zoom = 1 + ZOOM * zoom
    # Coordinates span 2, so a shift by a share of the side is twice that share.
    rows = (
        zoom * cosine,
        -zoom * sine,
        2 * SHIFT * right,
        zoom * sine,
        zoom * cosine,
        2 * SHIFT * down,
    )
    affine = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    background = -DEMO_MEAN / DEMO_STD
    return F.grid_sample(images - background, grid, align_corners=False) + background


def _rate(progress: float) -> float:
    """Learning rate relative to its highest, at a share of the training in 0..1."""
    if progress < WARMUP:
        return (progress + 0.01) / (WARMUP + 0.01)
    return 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))


def _train_epoch(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
) -> float:
    model.train()
    total = 0.0
    order = torch.randperm(len(images), generator=generator)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        logits = model(augment(images[chosen], generator))
        loss = F.cross_entropy(logits, labels[chosen], label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += loss.item() * len(chosen)
    return total / len(images)


def _correct(model: nn.Module, split: str) -> tuple[int, int]:
    """Number of images of a split that are classified correctly, and of all."""
    images, labels = _tensors(split)
    model.eval()
    with torch.no_grad():
        return int((model(images).argmax(1) == labels).sum()), len(labels)


def _tensors(split: str) -> tuple[Tensor, Tensor]:
    images, labels = load_split(split)
    return normalized(images), torch.from_numpy(labels)


def _write(model: nn.Module, trained: TrainedDemo, path: Path) -> None:
    """Write weights and provenance; a reader never sees half a file."""
    metadata = {
        "name": trained.name,
        "seed": str(trained.seed),
        "epochs": str(trained.epochs),
        "evaluation_accuracy": repr(trained.accuracy),
        "evaluation_n": str(trained.n),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(model.state_dict(), partial, metadata=metadata)
    partial.replace(path)
