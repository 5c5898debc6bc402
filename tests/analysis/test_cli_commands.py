"""The command line that a step shows is the one that makes it; interruptions lose nothing."""

import io
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest

from analysis import workflow
from analysis.allocation.milp import MilpOptions
from analysis.allocation_file import allocation_json, uniform_allocation
from analysis.cli.progress import Reporter
from analysis.cli.session import Session
from analysis.commands import command_line, option_flags
from analysis.events import Finished, Note, Progress, Started
from analysis.options import Options, option
from analysis.records import Budget, Candidate, QuantSettings, StudySpec
from analysis.sensitivity.hessian_attention import HessianAttentionOptions
from analysis.sensitivity.output_kl import OutputKLOptions
from analysis.study import demo_spec
from analysis.workspace import Workspace
from cache.store import Store
from tests.analysis.cli_studies import MODEL, images, say


@pytest.fixture
def workspace(tmp_path):
    return Workspace(Store(tmp_path / "store"), allow_factory=True)


def opened(workspace, spec):
    return Reporter(io.StringIO()).work(workflow.open_study(workspace, spec))


@pytest.fixture
def study(lab, workspace):
    return opened(
        workspace,
        StudySpec(
            model=MODEL,
            calibration=f"npz:{lab.folder / 'calibration.npz'}",
            evaluation=f"npz:{lab.folder / 'evaluation.npz'}",
            normalize="-0.5,0.4,0.3;0.2",
            samples=9,
            evaluation_samples=20,
            seed=4,
        ),
    )


class EnoughError(Exception):
    """Ends a command that need not compute."""


@pytest.fixture
def keys(monkeypatch):
    """The keys of the steps that the command line runs, which are described and not computed."""
    seen = []

    def remember(self, step):
        seen.append((step.name, step.key))
        raise EnoughError

    monkeypatch.setattr(Session, "run", remember)

    def of(command: str, *more: object):
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "analysis"]
        with pytest.raises(EnoughError):
            assert not say(*words[3:], *more).err
        return seen[-1]

    return of


PLAIN = QuantSettings()
CHANGED = QuantSettings(
    scope="layer_input",
    weight_range="min_max",
    activation_range="percentile",
    percentile=99.99,
    per_channel=False,
    pin_first_last=False,
)


def same(keys, step, lab):
    assert keys(step.command, *lab.store) == (step.name, step.key)


def test_the_layers_command_makes_the_same_key(keys, workspace, study, lab):
    same(keys, workflow.layers(workspace, study), lab)


def test_the_evaluate_command_makes_the_same_key(keys, workspace, study, lab):
    same(keys, workflow.float_outputs(workspace, study), lab)


@pytest.mark.parametrize("settings", [PLAIN, CHANGED])
@pytest.mark.parametrize(
    ("metric", "options", "candidates"),
    [
        ("hessian_attention", None, ()),
        ("hessian_attention", HessianAttentionOptions(probes=2, batch_size=5, seed=9), ("w4a8",)),
        ("output_kl", OutputKLOptions(batch_size=3), ("w4a8", "wfloata4", "float")),
        ("output_kl", None, tuple(c.text for c in workflow.DEFAULT_CANDIDATES)),
    ],
)
def test_the_score_command_makes_the_same_key(
    keys, workspace, study, lab, settings, metric, options, candidates
):
    chosen = [Candidate.parse(c) for c in candidates]
    step = workflow.score(
        workspace, study, metric, options=options, candidates=chosen, settings=settings
    )
    same(keys, step, lab)


@pytest.mark.parametrize("settings", [PLAIN, CHANGED])
@pytest.mark.parametrize("pin_first_last", [True, False])
def test_the_allocate_command_makes_the_same_key(
    keys, workspace, study, lab, settings, pin_first_last
):
    scores = workflow.score(
        workspace, study, "output_kl", options=OutputKLOptions(batch_size=7), settings=settings
    )
    step = workflow.allocate(
        workspace,
        study,
        scores,
        [Budget(resource="size", limit=0.6123456789), Budget(resource="bops", limit=0.5)],
        "milp",
        options=MilpOptions(time_limit=1.5, relative_gap=0.01),
        pins={"3": Candidate.parse("w6a8")},
        pin_first_last=pin_first_last,
    )
    same(keys, step, lab)


@pytest.mark.parametrize("settings", [PLAIN, CHANGED])
def test_the_quantize_command_makes_the_same_key(
    keys, workspace, study, lab, settings, monkeypatch
):
    monkeypatch.chdir(lab.folder)
    allocation = uniform_allocation(
        workspace.live(study).network.table, Candidate.parse("w4a8"), pin_first_last=False
    )
    (lab.folder / "allocation.json").write_text(allocation_json(allocation, study="x"))
    step = workflow.quantize(
        workspace, study, workflow.Recipe(allocation, settings=settings), name="my 'name'"
    )
    same(keys, step, lab)


@pytest.mark.parametrize("settings", [PLAIN, CHANGED])
def test_the_agreement_command_makes_the_same_keys(keys, workspace, study, lab, settings):
    metrics = ("hessian_attention", "random", "size_only")
    step = workflow.agree(workspace, study, metrics, "loss_increase", settings=settings)
    same(keys, step, lab)
    step = workflow.agree(workspace, study, metrics, data="calibration", settings=settings)
    same(keys, step, lab)
    budget = Budget(resource="size", limit=0.55)
    same(keys, workflow.contest(workspace, study, metrics, budget, settings=settings), lab)


@pytest.mark.parametrize("settings", [PLAIN, CHANGED])
@pytest.mark.parametrize("data", ["calibration", "evaluation"])
def test_the_inspect_command_makes_the_same_keys(
    keys, workspace, study, lab, settings, data, monkeypatch
):
    monkeypatch.chdir(lab.folder)
    allocation = uniform_allocation(
        workspace.live(study).network.table, Candidate.parse("w4a8"), pin_first_last=False
    )
    (lab.folder / "allocation.json").write_text(allocation_json(allocation, study="x"))
    recipe = workflow.Recipe(allocation, settings=settings)
    step = workflow.inspect(workspace, study, recipe, data=data)
    same(keys, step, lab)
    step = workflow.attributions(workspace, study, recipe, [2, 5], "saliency", steps=7, data=data)
    same(keys, step, lab)


@pytest.mark.parametrize("settings", [PLAIN, CHANGED])
def test_recalibrated_and_quantized_networks_have_equal_commands(
    keys, workspace, study, lab, settings, monkeypatch
):
    monkeypatch.chdir(lab.folder)
    allocation = uniform_allocation(
        workspace.live(study).network.table, Candidate.parse("w4a8"), pin_first_last=False
    )
    (lab.folder / "allocation.json").write_text(allocation_json(allocation, study="x"))
    recipe = workflow.Recipe(
        allocation,
        "bias_correction",
        settings=settings,
        recalibrations=("equalization", "absorption"),
    )
    same(keys, workflow.quantize(workspace, study, recipe, name="x"), lab)
    same(keys, workflow.inspect(workspace, study, recipe), lab)
    same(keys, workflow.distributions(workspace, study, recipe), lab)
    same(keys, workflow.distributions(workspace, study), lab)
    step = workflow.distributions(workspace, study, recalibrations=("bounded_relu",))
    same(keys, step, lab)


def test_ranges_of_a_layer_have_the_command_that_tries_them(keys, workspace, study, lab):
    for more in (
        {},
        {"per_channel": False, "percentile": 99.5},
        {"recalibrations": ("batchnorm_reestimation",)},
    ):
        step = workflow.ranges(workspace, study, "3", "weight", "int4", **more)
        same(keys, step, lab)


def test_the_initialization_command_makes_the_same_key(keys, workspace, study, lab):
    for owner in (workflow.Lab(workspace), workflow.Lab(workspace, study)):
        step = workflow.initialization(
            owner, ("he_normal", "normal:0:0.3"), ("separable_nobn",), seeds=2, epochs=4
        )
        same(keys, step, lab)
        same(keys, workflow.initialization(owner), lab)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_demo_studies_need_no_more_than_their_model(keys, workspace, lab, name):
    step = workflow.layers(workspace, opened(workspace, replace(demo_spec(name), samples=4)))
    assert "--calibration" not in step.command
    same(keys, step, lab)


def test_a_value_that_looks_like_a_flag_is_tied_to_its_own():
    spec = StudySpec(model="timm:x", calibration="npz:a", evaluation="npz:b", normalize="-1;2")
    assert "'--normalize=-1;2'" in command_line("study", spec)


def test_options_give_way_to_flags_and_to_each_other():
    @dataclass(frozen=True, slots=True)
    class First(Options):
        seed: int = option(0, help="s")
        rate: float = option(0.0, help="r")

    @dataclass(frozen=True, slots=True)
    class Second(Options):
        rate: float = option(0.0, help="r")

    flags = option_flags(metric=First, solver=Second)
    assert {flag: role for flag, (role, _) in flags.items()} == {
        "metric-seed": "metric",
        "rate": "metric",
        "solver-rate": "solver",
    }


# --- interruption ---


def test_an_interrupted_score_goes_on_where_it_stopped(lab, monkeypatch):
    words = ("score", "--metric", "hessian_attention", "--batch-size", 2)
    batches = []
    module = sys.modules["analysis.sensitivity.attention"]
    original = module._batch

    def third_time_interrupted(task, plans, batch, options, form):
        batches.append(batch)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return (yield from original(task, plans, batch, options, form))

    monkeypatch.setattr(module, "_batch", third_time_interrupted)
    said = lab(*words)
    assert said.status == 130
    assert said.out == ""
    assert "goes on from there" in said.err
    assert "Traceback" not in said.err
    found = lab.json(*words)
    assert batches == [range(i, i + 2) for i in (0, 2, 4, 4, 6, 8, 10)]
    whole = lab.json("score", "--metric", "hessian_attention")
    assert whole["cached"] is False
    assert whole["values"] == pytest.approx(found["values"])


def test_ctrl_c_ends_the_process_with_130_and_keeps_the_parts(lab):
    images(lab.folder / "calibration.npz", 1000, seed=1)
    command = [sys.executable, "-m", "analysis", "score", *lab.study, *lab.store]
    running = subprocess.Popen(
        [*command, "--metric", "hessian_attention", "--batch-size", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell may have told its background processes to ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stderr is not None
    seen = ""
    while "pass" not in seen and "samples" not in seen and (line := running.stderr.readline()):
        seen += line
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, seen + err
    assert out == ""
    assert "Traceback" not in err
    assert list((lab.folder / "store" / "parts").glob("*/*"))


# --- progress ---


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step():
    yield Started("score", "Scores")
    yield Progress(1, 4, "first")
    yield Note("something was clipped")
    yield Started("ranges", "Ranges", cached=True)
    yield Progress(4, 4, "last")
    yield Finished(7)


def test_a_terminal_gets_a_bar_that_is_cleared(monkeypatch):
    monkeypatch.setattr("analysis.cli.progress.SECONDS_BETWEEN_BARS", 0)
    stream = Terminal()
    assert Reporter(stream).run(step()) == (7, False)
    written = stream.getvalue()
    assert "██████░░░░░░░░░░░░░░░░░░  25%  first" in written
    assert "note: something was clipped\n" in written
    assert written.endswith("\r\x1b[K")


def test_anything_else_gets_lines(monkeypatch):
    monkeypatch.setattr("analysis.cli.progress.SECONDS_BETWEEN_LINES", 0)
    stream = io.StringIO()
    Reporter(stream).run(step())
    assert stream.getvalue().splitlines() == [
        "Scores",
        "   25%  first",
        "note: something was clipped",
        "  100%  last",
    ]


def test_the_step_is_closed_when_it_is_interrupted():
    closed = []

    def endless():
        try:
            while True:
                yield Progress(1, 0)
                raise KeyboardInterrupt
        finally:
            closed.append(True)

    with pytest.raises(KeyboardInterrupt):
        Reporter(io.StringIO()).run(endless())
    assert closed == [True]
