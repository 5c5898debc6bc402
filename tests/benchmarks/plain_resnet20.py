"""ResNet-20 folded by hand and cut by hand: what no implementation can avoid computing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tests.reference.cifar_resnet20 import Block, CifarResNet20


def folded(model: CifarResNet20) -> CifarResNet20:
    """Fold every BatchNorm with torch's own helper; the BatchNorms become identities."""
    for module in [model, *(m for m in model.modules() if isinstance(m, Block))]:
        for number in ("1", "2"):
            if hasattr(module, f"bn{number}"):
                conv, norm = getattr(module, f"conv{number}"), getattr(module, f"bn{number}")
                setattr(module, f"conv{number}", fuse_conv_bn_eval(conv, norm))
                setattr(module, f"bn{number}", nn.Identity())
    return model.requires_grad_(False)


@contextmanager
def caught_outputs(model: CifarResNet20) -> Iterator[list[Tensor]]:
    """Collect the layers' outputs of a pass inside the block, as roots of the graph behind them."""
    outputs: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        output = output if output.requires_grad else output.requires_grad_()
        outputs.append(output)
        return output

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def backward_to_activations(model: CifarResNet20, x: Tensor, classes: int) -> None:
    """One forward pass and one backward pass per class, to every convolution's output."""
    with caught_outputs(model) as outputs:
        logits = model(x)
        for c in range(classes):
            torch.autograd.grad(logits[:, c].sum(), outputs, retain_graph=c < classes - 1)


def gradient_per_layer_and_probe(model: CifarResNet20, x: Tensor, probes: int) -> None:
    """The loop that other tools run: one gradient call for every layer and every random probe."""
    with caught_outputs(model) as outputs:
        logits = model(x)
        for probe in range(probes):
            signs = torch.randint(0, 2, logits.shape).float() * 2 - 1
            total = (signs * logits).sum()
            for place, output in enumerate(outputs):
                last = probe == probes - 1 and place == len(outputs) - 1
                (gradient,) = torch.autograd.grad(total, output, retain_graph=not last)
                gradient.flatten(1).square().sum(1)


def suffixes(model: CifarResNet20, x: Tensor) -> list[Callable[[], Tensor]]:
    """For each layer in order, the forward pass from that layer's own input to the logits."""
    blocks = [*model.layer1, *model.layer2, *model.layer3]

    def rest(h: Tensor, first: int) -> Tensor:
        for block in blocks[first:]:
            h = block(h)
        return model.linear(torch.mean(h, dim=(2, 3)))

    def shortcut(block: Block, h: Tensor) -> Tensor:
        if not block.padding:
            return h
        pad = (0, 0, 0, 0, block.padding, block.padding)
        return F.pad(h[:, :, :: block.stride, :: block.stride], pad)

    def second(block: Block, number: int, middle: Tensor, skip: Tensor) -> Tensor:
        return rest(F.relu(block.conv2(middle) + skip), number + 1)

    h = F.relu(model.conv1(x))
    found: list[Callable[[], Tensor]] = [lambda: rest(F.relu(model.conv1(x)), 0)]
    for number, block in enumerate(blocks):
        middle, skip = F.relu(block.conv1(h)), shortcut(block, h)
        found.append(lambda h=h, n=number: rest(h, n))
        found.append(lambda b=block, n=number, m=middle, s=skip: second(b, n, m, s))
        h = block(h)
    pooled = torch.mean(h, dim=(2, 3))
    found.append(lambda: model.linear(pooled))
    return found
