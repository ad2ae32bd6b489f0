"""The part `correctness`: the tests with the marker `cuda`, each a row of the results as soon as it has ended."""

import os
import time
from pathlib import Path

import pytest

from tests.gpu.parts import Results

DEVICE_VARIABLE = "PECLR_TEST_DEVICE"  # "cpu" lets the tests with the marker `cuda` run without a GPU


class _Recorder:
    """Notes outcomes, leaves out what has passed before, and begins nothing when the time is up."""

    def __init__(self, results: Results, deadline: float) -> None:
        self.results, self.deadline = results, deadline

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        passed = [item for item in items if self.results.done(item.name)]
        config.hook.pytest_deselected(items=passed)
        items[:] = [item for item in items if item not in passed]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if time.time() > self.deadline:
            self.results.put(item.name, {"left_out": "no time was left"})
            pytest.skip("no time was left")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.split("::")[-1]
        if report.failed and time.time() > self.deadline:  # whoever is stopped has not failed
            self.results.put(name, {"left_out": "stopped: no time was left"})
        elif report.failed:
            self.results.put(name, {"error": report.longreprtext[-2000:]})
        elif report.when == "call" or (report.skipped and name not in self.results.rows):
            reason = {"why": report.longreprtext} if report.skipped else {}
            self.results.put(name, {"outcome": report.outcome, "seconds": round(report.duration, 2), **reason})


def run(results: Results, deadline: float, *, dry: bool) -> None:
    """Run the tests."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts, for what is deterministic
    os.environ[DEVICE_VARIABLE] = "cpu" if dry else "cuda"
    options = ["-m", "cuda", "-p", "no:cacheprovider", "--tb=short"]
    pytest.main([str(Path(__file__).parent), *options], plugins=[_Recorder(results, deadline)])
