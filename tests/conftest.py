"""What every test shares, and how tests are dealt out to processes (``pytest -n auto``)."""

import gc
import os
import resource
import sys
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from functools import cache
from pathlib import Path

import coverage
import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from tests import complaints, jail_coverage
from tests.preloaded import program

PROCESSES_PER_CORE = 3  # most tests wait: for children, for time-outs
MOST_PROCESSES = 16

# Where the tests of a file share a gateway, or anything else, they run in one process. All others
# run in any.
TOGETHER = (
    *("tests/e2e/", "tests/conformance/"),
    *("tests/sandbox/test_api.py", "tests/sandbox/test_script_"),
    *("tests/sandbox/test_attacks_contained.py", "tests/sandbox/test_executions.py"),
    "tests/sandbox/test_nothing_passes.py",
)
SHARES = 'scope="module"'  # a file with this has a fixture that is made once for all its tests
ONE_PROCESS = "tests/deploy/"  # they share images

DEAREST = 10  # so many tests are named at the end of a run
COST = "cpu_secs"
SPENT = pytest.StashKey[float]()

# Bytecode is kept, whatever the environment says: the tests start thousands of interpreters, and
# each would else compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Importing all tests makes next to no garbage; the search for it took a quarter of that time.
gc.disable()

# How fast examples come is the machine's matter: a busy one must not fail a property. Each run has
# other examples, so that fewer of them find as much in the end.
hypothesis.settings.register_profile(
    "mcproxy",
    deadline=None,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("mcproxy")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that the program runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def _asyncio_is_content() -> Iterator[None]:
    """No task's error is lost, no coroutine forgotten; in debug mode, nothing holds up the loop.
    Neither here nor in the programs that tests have started, as far as they have said so."""
    with complaints.heard():
        yield
    told = program.noted()
    assert not told, told


@pytest.fixture(scope="session", autouse=True)
def _coverage_of_the_jail() -> Iterator[None]:
    """Where coverage is measured: of what runs behind walls, too."""
    measured = coverage.Coverage.current()
    if measured is None:
        yield
    else:
        with jail_coverage.followed(measured):
            yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_the_program_is_left() -> Iterator[None]:
    """The process that starts the program ends with the tests."""
    yield
    told = program.noted()  # by those that several tests share, as they ended
    program.end()
    assert not told, told


def pytest_collection_finish(session: pytest.Session) -> None:
    """What importing all tests has made stays; no collection of garbage walks through it."""
    gc.freeze()
    gc.enable()
    session.config.stash[SPENT] = _cpu_secs()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what a phase of a test took of the processor: here, and in children that have ended."""
    report = yield
    before, now = item.config.stash[SPENT], _cpu_secs()
    item.config.stash[SPENT] = now
    report.user_properties.append((COST, now - before))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that took most of the processor: time passes with a machine's load."""
    costs: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                costs[report.nodeid] += _noted(report)
    terminalreporter.section(f"{sum(costs.values()):.0f} s of processor time")
    for secs, nodeid in sorted(((secs, nodeid) for nodeid, secs in costs.items()), reverse=True)[
        :DEAREST
    ]:
        terminalreporter.line(f"{secs:6.1f} s {nodeid}")


def _noted(report: pytest.TestReport) -> float:
    return sum(float(str(value)) for name, value in report.user_properties if name == COST)


def _cpu_secs() -> float:
    ours = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(who)[:2]) for who in ours) + program.cpu_secs()


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Deals out files, and single tests where those of a file share nothing."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ONE_PROCESS):
            return ONE_PROCESS
        file = nodeid.partition("::")[0]
        return file if file.startswith(TOGETHER) or _shares(self.config.rootpath / file) else nodeid

    def remove_node(self, node: WorkerController) -> str | None:
        """Take away a process that has ended. The test that ended it is not dealt out again: it
        would end the next process."""
        assigned: Iterable[dict[str, bool]] = self.assigned_work[node].values()
        for tests in assigned:
            for nodeid, done in tests.items():
                if not done:
                    tests[nodeid] = True
                    super().remove_node(node)
                    return nodeid
        super().remove_node(node)
        return None


@cache
def _shares(file: Path) -> bool:
    return SHARES in file.read_text()


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduler:
    return Scheduler(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """How many processes ``-n auto`` means."""
    return min(PROCESSES_PER_CORE * len(os.sched_getaffinity(0)), MOST_PROCESSES)
