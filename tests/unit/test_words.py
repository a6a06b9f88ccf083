"""Words that were retired come back nowhere: each had a second meaning, or made a sentence be read twice."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from config.reference import rows
from worker.cli.app import app
from worker.reference.metrics import exporter_metrics, worker_metrics

ROOT = Path(__file__).parents[2]
PACKAGES = ("otpreport", "config", "providers", "tasks", "worker")

NAMES = {
    "ANEW": "LOOKUP_PAUSE",
    "APART": "CLOCK_TOLERANCE, or RESERVED",
    "AccountLook": "AccountStatus",
    "BY_HAND": "OPERATOR_STATES",
    "COME_BACK": "REJOIN_TIMEOUT",
    "Derived": "DerivedGroup",
    "Door": "Limiter",
    "GLANCE": "RESIZE_INTERVAL",
    "HELD": "NOT_RUNNING, or paused",
    "Hold": "SlowDown, or pause",
    "Look": "FleetStatus",
    "Otherwise": "ImpliedDefault",
    "PATIENCE": "the timeout it is",
    "Stop": "CommandError",
    "TELL": "PRESENCE_INTERVAL",
    "TOO_MUCH": "RIGHTS_SCRIPT",
    "Wall": "ProviderClock",
    "Way": "LeasePurpose, or RouteHealth",
    "_FAREWELL": "_CLOSE_TIMEOUT",
    "_PATIENCE": "_FORK_TIMEOUT",
    "_said": "the text that it is",
    "_tell": "announce, log or report, and what",
    "_told": "logged, or announced",
    "by_hand": "operator_states",
    "mend": "fix",
    "mended": "fixed",
    "said": "the text, reply or error that it is",
    "strangers": "unconfigured, or unknown",
    "tell": "announce",
    "told": "announced, or logged",
    "turn_away": "cancel_waiting",
}
"""Identifiers, and what stands for them."""

TEXTS = {
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bmake-believe\b": "simulated",
    r"\bnobody (serves|takes)\b": "no worker serves",
    r"\bsee(s|n)? to what\b": "inspect",
    r"\bstands still\b": "is stalled",
    r"\bof ours\b": "our",
    r"\banew\b": "again",
    r"(account|account [^ ]+|tencent|\}\}) is (held|open|stopped|shed)\b": "its state, in words",
    r"\b(held|paused) by hand\b": "paused",
}
"""What help, settings, metrics and alerts do not say, and what they say for it."""


def identifiers(source: str) -> Iterator[str]:
    """Yield every name that a source defines or uses."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case _:
                continue


def retired(text: str) -> list[str]:
    """Return the retired phrases in a text."""
    return [found[0] for phrase in TEXTS if (found := re.search(phrase, text, re.IGNORECASE))]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_retired_name_is_used(package: str) -> None:
    """A class, function, argument, attribute or variable has the word that is in use."""
    assert {
        f"{file.relative_to(ROOT)}: {name}"
        for file in (ROOT / package).rglob("*.py")
        for name in NAMES.keys() & set(identifiers(file.read_text()))
    } == set()


def test_no_class_name_is_used_twice() -> None:
    """A class is known by its name alone, in an import, a traceback and a sentence."""
    names = Counter(
        node.name
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert len(names) > 150
    assert {name for name, count in names.items() if count > 1} == set()


def texts() -> Iterator[tuple[str, str]]:
    """Yield what people read about commands, settings, metrics and alerts, with where it is from."""
    yield from help_of(typer.main.get_command(app))
    for row in rows():
        yield f"setting {row.variable}", row.description
    for metric in (*worker_metrics(), *exporter_metrics()):
        yield f"metric {metric.name}", metric.documentation
    for group in yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            for text in rule.get("annotations", {}).values():
                yield f"alert {rule.get('alert')}", text


def help_of(command: Any) -> Iterator[tuple[str, str]]:
    """Yield a command's help, that of its options and arguments, and of the commands below it."""
    yield f"command {command.name}", command.help or ""
    for option in command.params:
        yield f"command {command.name}, {option.name}", getattr(option, "help", None) or ""
    for below in getattr(command, "commands", {}).values():
        yield from help_of(below)


def test_no_retired_phrase_is_shown() -> None:
    """Help, settings, metrics and alerts have the field's words."""
    shown = list(texts())
    assert len(shown) > 200
    assert [(where, found) for where, text in shown if (found := retired(text))] == []


@pytest.mark.parametrize("phrase", TEXTS)
def test_a_retired_phrase_is_seen(phrase: str) -> None:
    """The test above would find each of them."""
    said = {
        r"\bmend(s|ed|ing)?\b": "Mend the cause",
        r"\bmake-believe\b": "make-believe providers",
        r"\bnobody (serves|takes)\b": "nobody serves tencnet",
        r"\bsee(s|n)? to what\b": "see to what failed",
        r"\bstands still\b": "the worker stands still",
        r"\bof ours\b": "a key of ours",
        r"\banew\b": "starts anew",
        r"(account|account [^ ]+|tencent|\}\}) is (held|open|stopped|shed)\b": "tencent is open",
        r"\b(held|paused) by hand\b": "has been held by hand",
    }[phrase]
    assert len(retired(said)) == 1


def test_a_retired_name_is_seen() -> None:
    """In a definition, an argument, an attribute and a use."""
    for source in ("class Look: ...", "def f(mend): ...", "x.HELD", "strangers = 1"):
        assert NAMES.keys() & set(identifiers(source))
