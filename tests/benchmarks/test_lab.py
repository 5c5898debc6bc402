"""The default initialization study, everything measured: `make bench`."""

from time import perf_counter

from analysis import workflow
from analysis.events import result
from analysis.workspace import Workspace
from cache.store import Store

SECONDS = 60.0


def test_the_default_study_of_thirty_runs_takes_less_than_a_minute(benchmark, tmp_path):
    space = Workspace(Store(tmp_path))
    step = workflow.initialization(workflow.Lab(space), workers=2)
    begin = perf_counter()
    study = benchmark.pedantic(lambda: result(step.events(space.store)), rounds=1)
    seconds = perf_counter() - begin
    own = sum(run.seconds for run in study.runs)
    print(
        f"\n{len(study.runs)} runs in {seconds:.0f} s (bound {SECONDS:.0f} s), {own:.0f} s of work"
    )
    assert len(study.runs) == 30
    assert seconds <= SECONDS
