"""In CI a skipped test is a failure: what a test needs, CI has to install."""

import os

import pytest
from _pytest.terminal import TerminalReporter


def _skipped(config: pytest.Config) -> list[pytest.TestReport | pytest.CollectReport]:
    reporter: object = config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or not isinstance(reporter, TerminalReporter):
        return []
    return list(reporter.stats.get("skipped", []))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that would have passed."""
    if exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Name the tests that have to run."""
    skipped = _skipped(config)
    if skipped:
        terminalreporter.section("skipped tests, which CI takes for failures")
        for report in skipped:
            terminalreporter.write_line(report.nodeid)
