"""The alerts: Prometheus' own checks of them, and that they, their tests and the docs speak of what there is."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.alerts import FOLDER, RULES, TESTS, Yaml, alerts, cases, known, read, rules, unknown
from tests.support.cohorts import cohorts
from tests.support.markdown import anchors

ROOT = FOLDER.parent
ALERTS = alerts()
NAMES = [rule["alert"] for rule in ALERTS]


def run(program: str, package: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program; skip the test where it is missing."""
    if not shutil.which(program):
        pytest.skip(f"needs {program}: apt-get install {package}")
    lavish = os.environ | {"GOGC": "400"}  # Go's garbage collector takes half of promtool's time
    return subprocess.run(
        [program, *arguments], env=lavish, capture_output=True, text=True, check=False, timeout=110
    )


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Prometheus' tool."""
    return run("promtool", "prometheus", *arguments)


def amtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Alertmanager's tool."""
    return run("amtool", "prometheus-alertmanager", *arguments)


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus-static.yml"])
def test_prometheus_takes_the_rules(name: str) -> None:
    """The configurations, of compose and for units of systemd, are valid and load the rules that are tested."""
    checked = promtool("check", "config", FOLDER / name)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules())} rules found" in checked.stdout
    assert read(FOLDER / name)["rule_files"] == [RULES.name]


def test_every_alert_fires_when_it_should_and_not_when_it_should_not() -> None:
    """Each case holds in Prometheus' own engine, down to the words that are sent."""
    tested = promtool("test", "rules", *TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_broken_alert_is_seen(tmp_path: Path) -> None:
    """The cases would fail for an alert that fires at the wrong time: they are no empty ones."""
    broken = RULES.read_text().replace("(otpreport_workers) == 0", "(otpreport_workers) == 1")
    (tmp_path / RULES.name).write_text(broken)
    own = [t for t in read(TESTS[-1])["tests"] if t["name"].startswith("OtpreportWorkersGone ")]
    test = tmp_path / "test.yml"
    test.write_text(repr({"rule_files": [RULES.name], "evaluation_interval": "1m", "tests": own}))
    tested = promtool("test", "rules", test)
    assert tested.returncode == 1
    assert len(re.findall("exp:", tested.stdout + tested.stderr)) == len(own) == 3


MIXED = """
groups:
  - name: mixed
    rules:
      - alert: Mixed
        expr:
          country:otpreport_otps_verified:increase10m / (country:otpreport_otps_verified:increase10m
          + ignoring (verified) increase(country:otpreport_otps_closed:max{verified="no"}[10m]))
          < 0.8 * country:otpreport_otp_conversion:ratio7d
        for: 2m
"""
"""An alert by the rate verified / (verified + expired), each as it happens."""


def test_a_mixed_rate_rings_at_night_where_ours_are_silent(tmp_path: Path) -> None:
    """Control: nothing but the traffic falls, to a fifth; an alert by another definition of the rate rings."""
    night = cohorts(lambda second: 100 if second < 5400 else 20, lambda _: 0.7, 7800)
    counters = {
        "otpreport_otps_sent_total{%s}": night.sent,
        "otpreport_otps_verified_total{%s}": night.verified,
        'otpreport_otps_closed_total{%s,verified="yes"}': night.yes,
        'otpreport_otps_closed_total{%s,verified="no"}': night.no,
    }
    series = [
        {
            "series": name % 'account="a",country="CN"',
            "values": " ".join(f"{value:.1f}" for value in values[::6]),
        }
        for name, values in counters.items()
    ]
    ours = [rule["alert"] for rule in ALERTS if "Otps" in rule["alert"] or "Conversion" in rule["alert"]]
    silent: list[Yaml] = [
        {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": []}
        for name in ours
        for minute in range(92, 128, 4)
    ]
    rings: Yaml = {
        "eval_time": "102m",
        "alertname": "Mixed",
        "exp_alerts": [{"exp_labels": {"account": "a", "country": "CN"}}],
    }
    (tmp_path / "mixed.yml").write_text(MIXED)
    own: Yaml = {
        "rule_files": [str(RULES), "mixed.yml"],
        "evaluation_interval": "2m",
        "group_eval_order": [*(group["name"] for group in read(RULES)["groups"]), "mixed"],
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": [*silent, rings]}],
    }
    (tmp_path / "test.yml").write_text(repr(own))
    tested = promtool("test", "rules", tmp_path / "test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert len(ours) == 5


@pytest.mark.parametrize("alert", NAMES)
def test_both_kinds_of_test(alert: str) -> None:
    """Each alert has a case in which it fires, and one in which it does not, and their names say which."""
    own = [case for case in cases() if case.alert == alert]
    assert {case.fires for case in own} == {True, False}
    for case in own:
        assert case.name.startswith(f"{alert} {'fires ' if case.fires else 'does not fire '}")


def test_alerts_have_names_of_their_own() -> None:
    """No two alerts have the same name; no test is left of one that is gone."""
    assert len(set(NAMES)) == len(NAMES)
    assert {case.alert for case in cases()} == set(NAMES)


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_an_alert_says_what_to_do(rule: Yaml) -> None:
    """It says how urgent it is, what is wrong, and under which heading of the docs the fix stands."""
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    assert anchor in anchors((ROOT / page).read_text())


def test_no_heading_is_left_of_an_alert_that_is_gone() -> None:
    """The docs explain the alerts that there are."""
    headings = re.findall(r"^#+ (Otpreport\w+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(NAMES)


def test_the_rules_name_what_there_is() -> None:
    """Every metric, label and value that a rule names is one that the code serves, or another rule records."""
    metrics, recorded = known(), [rule["record"] for rule in rules() if "record" in rule]
    assert {fault for rule in rules() for fault in unknown(rule["expr"], metrics, recorded)} == set()


def test_the_tests_name_what_there_is() -> None:
    """No case feeds an alert with a series that the code would never serve."""
    metrics = known()
    assert {
        fault for case in cases() for series in case.series for fault in unknown(series, metrics)
    } == set()


@pytest.mark.parametrize(
    ("expression", "faults"),
    [
        ("max(otpreport_worker) == 0", ["otpreport_worker"]),
        ('otpreport_account_state{state="held"}', ["otpreport_account_state{state=held}"]),
        ('otpreport_account_state{state=~"circuit_open|shut"}', ["otpreport_account_state{state=shut}"]),
        ('otpreport_workers{account="a"}', ["otpreport_workers{account}"]),
        (
            'rate(otpreport_event_age_seconds_bucket{le="61.0"}[5m])',
            ["otpreport_event_age_seconds_bucket{le=61.0}"],
        ),
        ("sum by (acount) (otpreport_queue_events)", ["acount"]),
        ("account:otpreport_made_up:sum > 1", ["account:otpreport_made_up:sum"]),
        ('otpreport_dead_events{account="any",reason="poison",instance="a:1"}', []),
    ],
)
def test_a_renamed_metric_is_seen(expression: str, faults: list[str]) -> None:
    """A name or value that the code has not, or has no more, is found."""
    assert list(unknown(expression, known())) == faults


def test_alertmanager_takes_its_configuration(tmp_path: Path) -> None:
    """As it is shipped it is valid and sends nothing; with its examples filled in it is valid and sends."""
    text = (FOLDER / "alertmanager.yml").read_text()
    shipped = read(FOLDER / "alertmanager.yml")
    assert all(set(receiver) == {"name"} for receiver in shipped["receivers"])
    filled = tmp_path / "filled.yml"
    filled.write_text(text.replace("#example ", ""))
    assert all(set(receiver) > {"name"} for receiver in read(filled)["receivers"])
    for path in (FOLDER / "alertmanager.yml", filled):
        checked = amtool("check-config", path)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_inhibitions_name_alerts_that_there_are() -> None:
    """An alert that was renamed would no longer hold back what follows from it."""
    named = set(re.findall(r"Otpreport\w+", (FOLDER / "alertmanager.yml").read_text()))
    assert named <= set(NAMES)
    assert len(named) > 10


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [(("severity=critical",), "on-call"), (("severity=warning",), "working-day")],
)
def test_who_is_told(labels: tuple[str, ...], receiver: str) -> None:
    """What can't wait goes to who is on call, the rest to who works by day."""
    file = FOLDER / "alertmanager.yml"
    routed = amtool("config", "routes", "test", f"--config.file={file}", *labels)
    assert routed.stdout.split() == [receiver]
