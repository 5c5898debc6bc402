"""The steps ``latency`` and ``allocate --latency``, from the command line to the store."""

import shlex

import pytest

from analysis import workflow
from analysis.cli.session import Session
from analysis.events import Finished, Note, Progress
from analysis.latency import timing
from analysis.latency.settings import TimingOptions
from analysis.latency.table_file import load_latency, read_latency
from analysis.records import Budget, Candidate, StudySpec
from analysis.workflow.allocating import latency_digest
from analysis.workspace import Workspace
from cache.store import Store
from tests.analysis.cli_studies import MODEL, say
from tests.reference.latency import times

LAYERS = ["0", "3", "7"]
FEW = ("--repeats", 5, "--warm-up", 1)
# Layer 3 is as fast in four bits as in eight.
TABLE = "layer,candidate,ms\n0,w8a8,1\n3,w4a8,2\n3,w8a8,2\n7,w8a8,0.5\n"
SEARCH = ("--metric", "output_kl", "--candidates", "w4a8,w8a8", "--budget", "latency_ms=3.5")


@pytest.fixture
def file(lab):
    path = lab.folder / "my times.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def live(lab):
    workspace = Workspace(Store(lab.folder / "store"), allow_factory=True)
    spec = StudySpec(
        model=MODEL,
        calibration=f"npz:{lab.folder / 'calibration.npz'}",
        evaluation=f"npz:{lab.folder / 'evaluation.npz'}",
        normalize="none",
    )
    *_, end = workflow.opening(workspace, spec)
    return workspace, end.result


def test_a_measured_table_is_stored_written_and_read_again(lab):
    path = lab.folder / "measured.csv"
    found = lab.json("latency", *FEW, "--out", path)
    assert [(row["layer"], row["candidate"]) for row in found["rows"]] == [
        (name, text) for name in LAYERS for text in ("w8a8", "float")
    ]
    assert all(row["ms"] > 0 <= row["spread_ms"] for row in found["rows"])
    assert "onnxruntime" in found["source"]
    assert any("timed alone" in note for note in found["notes"])
    read = load_latency(path)
    assert [row.ns / 1e6 for row in read.rows] == [row["ms"] for row in found["rows"]]
    again = lab.json("latency", *FEW)
    assert again["cached"]
    assert again["rows"] == found["rows"]
    assert "w8a8" in lab("latency", *FEW).out


def test_a_measured_table_serves_allocate(lab):
    path = lab.folder / "measured.csv"
    assert lab("latency", *FEW, "--out", path).status == 0
    words = ("--metric", "output_kl", "--candidates", "w8a8,float", "--budget", "latency_ms=1000")
    found = lab.json("allocate", *words, "--latency", path, "--release-first-last")
    assert 0 < found["costs"]["latency_ms"] == found["budgets"][0]["used"]


def test_an_interrupted_measurement_goes_on_where_it_stopped(live, monkeypatch):
    workspace, study = live
    step = workflow.latency(workspace, study, TimingOptions(repeats=5, warm_up=1))
    events = step.events(workspace.store)
    while not (isinstance(event := next(events), Progress) and event.done == 2):
        pass
    events.close()
    timed, real = [], timing.measured_rows

    def remember(network, layer, options):
        timed.append(layer.name)
        return real(network, layer, options)

    monkeypatch.setattr(timing, "measured_rows", remember)
    said = list(step.events(workspace.store))
    assert timed == ["7"]
    assert isinstance(said[-1], Finished)
    assert sum(isinstance(event, Note) for event in said) == 2
    assert [row.layer for row in said[-1].result.rows] == ["0", "0", "3", "3", "7", "7"]


def test_a_budget_of_milliseconds_is_kept_and_free_bits_are_raised(lab, file):
    low = lab.json("allocate", *SEARCH, "--latency", file, "--budget", "avg_bits=8")
    assert [b["resource"] for b in low["budgets"]] == ["latency_ms", "avg_bits"]
    assert low["costs"]["latency_ms"] == 3.5
    raised = lab.json("allocate", *SEARCH, "--latency", file, "--free-bits")
    assert raised["allocation"]["3"] == "w8a8"
    assert any("ree bits by" in n or "No bits are free" in n for n in raised["notes"])
    said = lab("allocate", *SEARCH, "--latency", file)
    assert "layers 3.5 ms by the table" in said.out
    assert "MiB of activations at once" in said.out


def test_peaks_are_budgets_of_the_command_line(lab):
    words = ("--metric", "output_kl", "--candidates", "w4a4,w8a8")
    found = lab.json("allocate", *words, "--budget", "act=1", "--budget", "ace=1")
    assert [b["resource"] for b in found["budgets"]] == ["act", "ace"]
    assert 0 < found["budgets"][0]["used"] <= 1
    said = lab("allocate", *words, "--budget", "act=0.01")
    assert said.status == 3
    assert "act must be at least" in said.err


@pytest.mark.parametrize(
    ("words", "text", "status", "said"),
    [
        (("--budget", "latency_ms=1"), None, 2, "must come with `--latency FILE`"),
        (("--budget", "size=1", "--free-bits"), None, 2, "must come with `--latency FILE`"),
        (("--budget", "latency_ms=1"), "layer,ms\n0,1\n", 1, "must have the columns"),
        (("--budget", "latency_ms=1"), TABLE.replace("0.5", "-0.5"), 1, "line 5 of"),
        (("--budget", "latency_ms=1"), TABLE.replace("w4a8", "w9a8"), 1, "no format `int9`"),
        (("--budget", "latency_ms=9"), "layer,candidate,ms\n0,w8a8,1\n", 1, "misses"),
        (("--budget", "latency_ms=1"), TABLE, 3, "latency_ms must be at least 3.5 ms"),
    ],
)
def test_bad_input_is_one_clear_line(lab, words, text, status, said):
    more = []
    if text is not None:
        path = lab.folder / "times.csv"
        path.write_text(text)
        more = ["--latency", path]
    found = lab("allocate", "--metric", "output_kl", "--candidates", "w4a8,w8a8", *words, *more)
    assert found.status == status, found.err
    line = found.err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert said in line


def test_a_table_that_cannot_be_opened_is_named(lab):
    found = lab("allocate", *SEARCH, "--latency", lab.folder / "missing.csv")
    assert found.status == 1
    assert "missing.csv" in found.err


def test_the_equal_commands_make_the_same_keys(live, lab, file, monkeypatch):
    workspace, study = live
    seen = []

    class EnoughError(Exception):
        pass

    def remember(self, step):
        seen.append(step.key)
        raise EnoughError

    monkeypatch.setattr(Session, "run", remember)
    monkeypatch.chdir(lab.folder)
    scores = workflow.score(workspace, study, "output_kl", candidates=[Candidate.parse("w4a8")])
    latency = load_latency(file)
    steps = [
        workflow.allocate(
            workspace,
            study,
            scores,
            [Budget(resource="latency_ms", limit=2.5)],
            "milp",
            latency=latency,
            latency_file=file.name,
            free_bits=True,
        ),
        workflow.latency(workspace, study, TimingOptions(repeats=7, parallel=2)),
    ]
    for step in steps:
        with pytest.raises(EnoughError):
            say(*shlex.split(step.command)[3:], *lab.store)
        assert seen[-1] == step.key


def test_the_digest_is_that_of_the_times_and_not_of_the_file():
    one = read_latency(TABLE, "`a.csv`")
    lines = TABLE.splitlines()
    other = read_latency("\n".join([lines[0], *reversed(lines[1:])]), "`b.csv`")
    assert latency_digest(one) == latency_digest(other)
    assert latency_digest(one) != latency_digest(times(("0", "w8a8", 1)))
