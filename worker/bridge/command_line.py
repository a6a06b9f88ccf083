"""Celery's own command line, when it loads our app: which of its commands and options do something here."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence

import click
from click.core import ParameterSource

_WORK = frozenset({"worker", "multi"})
_INSTEAD = {
    "call": "otpreport.Reporter in a program, or `otpreport send`",
    "control": "`otpreport accounts` and its pause, resume and rate",
    "events": "`otpreport status --watch`",
    "flower": "`otpreport exporter`, and the page it serves",
    "inspect": "`otpreport status`, and `otpreport ready` as a probe",
    "purge": "`otpreport accounts purge`",
    "report": "`otpreport check`",
    "status": "`otpreport status`, and `otpreport ready` as a probe",
}
_WITHOUT_EFFECT = frozenset(
    {
        "concurrency",
        "disable_prefetch",
        "heartbeat_interval",
        "max_memory_per_child",
        "max_tasks_per_child",
        "optimization",
        "pool_start_method",
        "prefetch_multiplier",
        "soft_time_limit",
        "statedb",
        "task_events",
        "time_limit",
    }
)
_NOT_READ = re.compile("CELERY_(BROKER_.*|CONFIG_MODULE|LOADER|RESULT_BACKEND|WORKER_.*)")


class CommandLine:
    """What `celery -A worker ...` was called with; of `otpreport run` and of a program, nothing."""

    def __init__(self) -> None:
        program = sys.modules.get("celery.bin.celery")
        context = click.get_current_context(silent=True)
        ours = program is not None and context is not None and context.find_root().command is program.celery
        self._here = context if ours else None
        self._root = context.find_root() if ours and context is not None else None

    def command_off(self) -> str:
        """Return a line that says what to use for this command of Celery's, or "" when it works."""
        name = (self._root and self._root.invoked_subcommand) or ""
        if not name or name in _WORK:
            return ""
        return f"celery {name} is off: its worker has no broker to talk over: use {instead(name)}"

    def keep_variables_out(self) -> None:
        """Have Celery's worker read its options from the command line alone, not from CELERY_WORKER_..."""
        if self._root is not None:
            self._root.auto_envvar_prefix = None

    def ignored(self, environment: Mapping[str, str]) -> list[str]:
        """Return the variables and options of Celery's that were given and have no effect."""
        variables = [name for name, value in environment.items() if value and _NOT_READ.fullmatch(name)]
        return sorted(variables) + list(self._ignored_options())

    def settings(self) -> Sequence[str]:
        """Return settings of Celery's given as `-- name=value`."""
        return self._here.args if self._here is not None else ()

    def gave(self, option: str) -> bool:
        """Say whether an option stands on the command line; True of a program, whose options are all meant."""
        return self._here is None or self._here.get_parameter_source(option) is ParameterSource.COMMANDLINE

    def _ignored_options(self) -> Iterator[str]:
        if self._here is None or self._root is None:
            return
        for context, names in (
            (self._root, {"broker", "config", "loader", "result_backend"}),
            (self._here, _WITHOUT_EFFECT),
        ):
            for parameter in context.command.params:
                if (
                    parameter.name in names
                    and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
                ):
                    yield parameter.opts[0]


def instead(command: str) -> str:
    """Return what to use for a command of Celery's."""
    return _INSTEAD.get(command, "`otpreport --help`")
