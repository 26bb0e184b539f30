"""What all tests share: a thread each, nothing missing under `make test`, the command line."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

# Every core has a worker of pytest. Two threads of OpenMP on one core mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

OPTION = "--nothing-missing"
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        OPTION,
        action="store_true",
        help="fail tests that would be skipped for want of a simulator or a package",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if hasattr(report, "wasxfail") or item.get_closest_marker("extra"):
        return report
    return _fail_if_skipped(report, item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _fail_if_skipped(report, collector.config)


def _fail_if_skipped(report: Report, config: pytest.Config) -> Report:
    if report.skipped and config.getoption(OPTION):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}; with {OPTION} nothing is skipped"
    return report


@pytest.fixture
def accel(capfd, monkeypatch):
    """Run the command line; return its exit status, standard output and standard error."""
    monkeypatch.setenv("PATH", os.environ["PATH"])

    def run(*arguments):
        from accel.cli.app import main

        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        output = capfd.readouterr()
        return stop.value.code, output.out, output.err

    return run


@pytest.fixture
def refuses(accel):
    """Assert that arguments are refused in one line that holds all the words."""

    def check(arguments, *words):
        status, out, err = accel(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        for word in words:
            assert str(word) in err

    return check
