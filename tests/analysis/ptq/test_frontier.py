import pytest
import torch

from analysis.models.network import Network
from analysis.models.replay import run
from analysis.options import Options
from analysis.ptq.frontier import Frontier
from analysis.ptq.nearest import nearest
from analysis.quant.configure import plan_of
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch, built
from tests.reference.quantizing import task_of
from tests.reference.work import finish

NETS = {
    "residual": toys.residual,
    "in place": toys.residual_in_place,
    "attention": toys.self_attention,
    "tokens": toys.tokens,
    "chunked": toys.chunked,
    "padded": toys.padded,
}


def whole_pass(network: Network, x, plan, stop: int):
    with torch.no_grad():
        return run(network.module, network.trace, x, network.plan.then(plan), stop=stop)


@pytest.mark.parametrize("scope", ["tensor", "layer_input"])
@pytest.mark.parametrize("name", NETS)
def test_a_pass_from_the_frontier_gives_what_a_whole_pass_gives(name, scope):
    network, x = built(NETS[name]()), batch(7, 3, 8, 8, seed=3)
    settings = QuantSettings(activation_range="min_max", scope=scope)
    found = finish(nearest(task_of(network, x, "w3a4", settings), Options()))
    plan = plan_of(network, found, settings)
    front = Frontier(network, x)
    rows = torch.tensor([5, 0, 3])
    places = sorted({call for layer in network.table.layers for call in layer.calls})
    last = network.trace.output[0]
    for call in places:
        finish(front.advance(call, plan))
        assert front.call == call
        for stop in {call, last}:
            with torch.no_grad():
                own = front.output(rows, stop, plan)
            assert torch.allclose(own, whole_pass(network, x[rows], plan, stop), atol=1e-6)


def test_the_tensor_right_before_is_kept_raw_so_that_another_plan_can_start_there():
    network, x = built(toys.residual()), batch(6, 3, 8, 8, seed=3)
    settings = QuantSettings(activation_range="min_max")
    plans = [
        plan_of(
            network,
            finish(nearest(task_of(network, x, text, settings, conv1="w4a8"), Options())),
            settings,
        )
        for text in ("w4a8", "w4a2")
    ]
    second = network.layer("conv2").calls[0]
    front = Frontier(network, x)
    finish(front.advance(second, plans[0]))
    rows = torch.arange(6)
    with torch.no_grad():
        own = front.output(rows, second, plans[1])
    assert torch.allclose(own, whole_pass(network, x, plans[1], second), atol=1e-6)
    assert not torch.allclose(own, whole_pass(network, x, plans[0], second), atol=1e-3)


def test_its_memory_is_that_of_what_later_calls_read():
    network, x = built(toys.residual()), batch(6, 3, 8, 8)
    front = Frontier(network, x)
    second = network.layer("conv2").calls[0]
    assert front.mib(second) == pytest.approx(6 * 4 * 8 * 8 * 4 / 2**20)
