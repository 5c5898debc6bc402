import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.errors import DataflowError
from analysis.models.calls import INPUT
from analysis.models.dataflow import observe
from tests.analysis.models import toys
from tests.analysis.models.toys import TOYS, batch, conv, toy


def trace_of(body, width=4, **children):
    return observe(toy(body, width, **children), batch())


def call(trace, name, number=0):
    return [c for c in trace.calls if c.name == name][number]


def test_calls_carry_their_module_parameters_and_shapes():
    trace = observe(toys.residual(), batch())
    assert [c.name for c in trace.calls] == [
        "conv2d", "batch_norm", "relu", "conv2d", "batch_norm", "add", "relu", "flatten", "mean",
        "linear",
    ]  # fmt: skip
    first, second = call(trace, "conv2d"), call(trace, "conv2d", 1)
    assert (first.module, first.parameters) == ("conv1", {1: "conv1.weight"})
    assert second.parameters == {1: "conv2.weight", 2: "conv2.bias"}
    assert first.inputs == (INPUT, None)
    assert first.input_shapes == ((2, 3, 8, 8), (4, 3, 3, 3))
    assert first.shapes == ((2, 4, 8, 8),)
    assert call(trace, "add").inputs == ((2, 0), (4, 0))
    assert trace.readers[(2, 0)] == (3, 5)
    assert trace.output == (9, 0)
    assert trace.batch == 2
    assert [trace.describe(s) for s in (INPUT, (1, 0), (5, 0))] == [
        "network input", "batch_norm in bn1", "add",
    ]  # fmt: skip


@pytest.mark.parametrize("name", TOYS)
def test_readers_and_inputs_say_the_same(name):
    trace = observe(TOYS[name](), batch())
    expected = {}
    for c in trace.calls:
        for slot in c.inputs:
            if slot is not None and c.index not in expected.setdefault(slot, []):
                expected[slot].append(c.index)
    assert trace.readers == {slot: tuple(calls) for slot, calls in expected.items()}


@pytest.mark.parametrize(
    "keep",
    [
        lambda y: y.flatten(2).transpose(1, 2).reshape(2, 8, 8, 4).permute(0, 3, 1, 2),
        lambda y: F.pad(y, (1, 1, 1, 1)),
        lambda y: F.pad(y, (1, 1), mode="constant", value=0.0),
        lambda y: F.dropout(y, 0.5, training=False),
        lambda y: torch.chunk(y, 2, dim=2)[1],
        lambda y: y.split(3, dim=2)[0],
        lambda y: y.unbind(2)[0].unsqueeze(2),
        lambda y: torch.roll(y, 1, 2),
        lambda y: y[:, :, ::2, ::2],
        lambda y: y.contiguous().clone().detach(),
        lambda y: y.flip(2),
        lambda y: y.repeat(1, 1, 2, 1),
    ],
)
def test_values_that_are_only_moved_are_looked_through(keep):
    trace = trace_of(lambda m, x: m.last(keep(F.relu(m.first(x)))), first=conv(), last=conv(4))
    read = call(trace, "conv2d", 1).inputs[0]
    assert trace.source(read) == (call(trace, "relu").index, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda y: F.pad(y, (1, 1), value=1.0),
        lambda y: F.pad(y, (1, 1, 1, 1), mode="reflect"),
        lambda y: F.max_pool2d(y, 2),
        lambda y: y + 1,
        lambda y: torch.cat([y, y], 3),
    ],
)
def test_values_that_change_are_a_tensor_of_their_own(change):
    trace = trace_of(lambda m, x: m.last(change(F.relu(m.first(x)))), first=conv(), last=conv(4))
    read = call(trace, "conv2d", 1).inputs[0]
    assert trace.source(read) == read


def test_each_part_of_a_split_is_a_slot_of_its_own():
    trace = observe(toys.chunked(), batch())
    chunk = call(trace, "chunk")
    assert chunk.shapes == ((2, 2, 8, 8), (2, 2, 8, 8))
    assert call(trace, "conv2d", 1).inputs[0] == (chunk.index, 0)
    assert call(trace, "conv2d", 2).inputs[0] == (chunk.index, 1)


@pytest.mark.parametrize(
    "add",
    [
        lambda y, x: y.add_(x),
        lambda y, x: y.__iadd__(x),
        lambda y, x: torch.add(y, x, out=y),
    ],
)
def test_who_reads_a_tensor_after_an_in_place_change_reads_the_change(add):
    def body(m, x):
        x = m.first(x)
        y = F.relu(x)
        add(y, x)
        return m.last(y)

    trace = trace_of(body, first=conv(), last=conv(4))
    change = trace.calls[2]
    assert change.shapes == ((2, 4, 8, 8),)
    assert change.in_place
    assert {(1, 0), (2, 0)} <= trace.mutated
    assert (0, 0) not in trace.mutated
    assert call(trace, "conv2d", 1).inputs[0] == (2, 0)


def test_activations_that_are_made_out_of_place_change_nothing():
    trace = observe(toys.positional_inplace(), batch())
    assert trace.mutated == frozenset()
    assert not any(c.in_place for c in trace.calls)


def test_dropout_in_eval_mode_hands_its_argument_on_without_changing_it():
    trace = trace_of(lambda m, x: m.drop(m.first(x)), first=conv(), drop=nn.Dropout(inplace=True))
    assert trace.mutated == frozenset()


def test_a_tensor_read_after_a_view_of_it_changed_is_not_taken_for_its_old_values():
    trace = observe(toys.view_in_place(), batch())
    assert call(trace, "conv2d", 2).inputs[0] is None
    assert "another name in conv3" in trace.reads_values


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda y: y.mean().item() > 0, "item"),
        (lambda y: bool(y.mean() > 0), "__bool__"),
        (lambda y: float(y.mean()), "__float__"),
        (lambda y: y.tolist(), "tolist"),
        (lambda y: y.detach().numpy(), "numpy"),
        (lambda y: torch.equal(y, y), "equal"),
        (lambda y: 0.5 in y, "__contains__"),
        (lambda y: y.is_contiguous(), "is_contiguous"),
    ],
)
def test_the_call_through_which_values_reach_the_code_is_named(read, name):
    def body(m, x):
        read(m.first(x))
        return m.first(x)

    assert trace_of(body, first=conv()).reads_values == f"{name} in forward"


def test_shapes_are_no_values():
    def body(m, x):
        y = m.first(x)
        return y.reshape(len(y), y.shape[1], y.size(2) * y.shape[3], 1)

    assert trace_of(body, first=conv()).reads_values == ""


def test_a_model_that_counts_in_a_buffer_is_seen_to_change_its_own_state():
    def body(m, x):
        m.norm.num_batches_tracked.add_(1)
        return m.first(x)

    trace = trace_of(body, first=conv(), norm=nn.BatchNorm2d(4))
    assert trace.reads_values.startswith("add_")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda y: (y, y), "got tuple"),
        (lambda y: {"logits": y}, "got dict"),
        (lambda y: None, "got NoneType"),
    ],
)
def test_a_model_that_does_not_return_one_tensor_is_refused(returned, message):
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            return returned(self.fc(x))

    with pytest.raises(DataflowError, match=message):
        observe(Odd().eval(), torch.ones(2, 3))


CONSTANT = torch.zeros(2, 5)


@pytest.mark.parametrize("forward", [lambda x: x, lambda x: CONSTANT])
def test_an_output_that_no_call_made_is_refused(forward):
    class Constant(nn.Module):
        def forward(self, x):
            return forward(x)

    with pytest.raises(DataflowError, match="not the result of any observed torch call"):
        observe(Constant().eval(), torch.ones(2, 3))


def test_observing_leaves_no_hooks_behind_even_when_the_model_fails():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 2)).eval()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        observe(module, torch.ones(2, 3))
    for child in module.modules():
        assert not child._forward_hooks
        assert not child._forward_pre_hooks
        assert not child._forward_hooks_always_called
