"""The part `correctness`: the tests with the marker `cuda`, each a row of the results as soon as it has ended."""

import os
import time
from pathlib import Path

import pytest

from tests.gpu.parts import Results

DEVICE_VARIABLE = "PECLR_TEST_DEVICE"  # "cpu" lets the tests with the marker `cuda` run without a GPU
ENVIRONMENT = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # before CUDA starts, for what is deterministic
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # no plugin of that machine is needed
    # all processes are on this machine, whose name may have no address
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
}
# what the test that runs has measured, for its row
measured: dict[str, float] = {}


class _Recorder:
    """Notes outcomes, leaves out what has passed before, and begins nothing when the time is up."""

    def __init__(self, results: Results, deadline: float) -> None:
        self.results, self.deadline = results, deadline

    @pytest.hookimpl(trylast=True)  # when those without the marker are gone
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        passed = [item for item in items if self.results.done(item.name)]
        config.hook.pytest_deselected(items=passed)
        items[:] = [item for item in items if item not in passed]
        for item in items:  # until it has ended: the process may be killed before
            self.results.put(item.name, {"left_out": "no time was left"})

    def pytest_runtest_setup(self) -> None:
        measured.clear()
        if time.time() > self.deadline:
            pytest.skip("no time was left")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.split("::")[-1]
        if not report.passed and time.time() > self.deadline:  # whoever is stopped has not failed
            return
        if report.failed:
            self.results.put(name, {"error": report.longreprtext[-2000:], **measured})
        elif report.when == "call" or report.skipped:
            found = {"why": report.longreprtext} if report.skipped else measured
            self.results.put(name, {"outcome": report.outcome, "seconds": round(report.duration, 2), **found})


def run(results: Results, deadline: float, *, dry: bool) -> None:
    """Run the tests; RuntimeError if they could not be collected."""
    os.environ.update(ENVIRONMENT)
    os.environ[DEVICE_VARIABLE] = "cpu" if dry else "cuda"
    # a library that warns on a GPU has not failed there
    options = ["-m", "cuda", "-p", "no:cacheprovider", "--tb=short", "-W", "default"]
    status = pytest.main([str(Path(__file__).parent), *options], plugins=[_Recorder(results, deadline)])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest ended with {status!r}")
