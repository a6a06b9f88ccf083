"""The units for systemd, and Prometheus' configuration for them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from config.settings import EXPORTER_PORT, Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
WORKER, EXPORTER = (DEPLOY / "systemd" / f"otpreport-{name}.service" for name in ("worker@", "exporter"))


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd's own judge; skip the test where it is missing."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def verified(unit: Path, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Verify a unit's text, with a program that is there on any machine."""
    copy = folder / unit.name.replace("@", "@9808")
    copy.write_text(text.replace("/opt/otpreport/bin/otpreport", "/bin/true"))
    return analyze("verify", "--man=no", copy)


def values(unit: Path, name: str) -> list[str]:
    """Return what a unit says for a name, line by line."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def test_both_units_are_there() -> None:
    """A worker and an exporter."""
    assert sorted([EXPORTER, WORKER]) == UNITS


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_it(unit: Path, tmp_path: Path) -> None:
    """Nothing in a unit is unknown to systemd."""
    checked = verified(unit, unit.read_text(), tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_misspelt_line_is_seen(tmp_path: Path) -> None:
    """The judge is a real one: a name that systemd does not know is reported."""
    text = WORKER.read_text().replace("KillSignal=", "KilSignal=")
    assert "KilSignal" in verified(WORKER, text, tmp_path).stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_hardened(unit: Path) -> None:
    """It exposes little, by systemd's own measure (0 to 10), and is no root."""
    checked = analyze("security", "--offline=true", "--threshold=15", unit)  # 1.5
    assert checked.returncode == 0, checked.stdout
    assert values(unit, "User") == ["otpreport"]


def test_a_worker_is_stopped_as_it_wants() -> None:
    """SIGTERM first, and it gets longer than GRACE before it is killed; whatever ends it, it is started again."""
    assert values(WORKER, "KillSignal") == ["SIGTERM"]
    (timeout,) = values(WORKER, "TimeoutStopSec")
    assert float(timeout) >= 1.5 * Settings.model_fields["grace"].default
    assert (values(WORKER, "Restart"), values(WORKER, "StartLimitIntervalSec")) == (["always"], ["0"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_example_of_a_file_sets_what_there_is(unit: Path) -> None:
    """Each variable of the example file is a setting; the port is in the unit, which the file would overrule."""
    (named,) = values(unit, "EnvironmentFile")
    example = DEPLOY / "systemd" / f"{Path(named).name}.example"
    variables = dict(re.findall(r"^#?(OTPREPORT_\w+)=(.*)$", example.read_text(), re.MULTILINE))
    assert "OTPREPORT_REDIS_URL" in variables
    known = {f"OTPREPORT_{name.upper()}" for name in Settings.model_fields}
    assert set(variables) - known <= {"OTPREPORT_CONFIG", "OTPREPORT_SECRETS_DIR"}
    assert "OTPREPORT_METRICS_PORT" not in variables
    assert "OTPREPORT_METRICS_PORT=" in values(unit, "Environment")[0]


def test_an_operator_s_shell_gets_the_worker_s_settings() -> None:
    """The file for commands is one that a shell reads, and names the same places, with a user of its own."""
    example = DEPLOY / "systemd" / "operator.env.example"
    shown = subprocess.run(
        ["env", "-i", "sh", "-c", f". {example}; env"], capture_output=True, text=True, check=True
    ).stdout
    shell = dict(re.findall(r"^(OTPREPORT_\w+)=(.*)$", shown, re.MULTILINE))
    worker = (DEPLOY / "systemd" / "worker.env.example").read_text()
    assert shell == dict(
        re.findall(
            r"^(OTPREPORT_\w+)=(.*)$",
            worker.replace("otpreport-worker:", "otpreport-operator:"),
            re.MULTILINE,
        )
    )


def test_prometheus_scrapes_the_units_ports() -> None:
    """The exporter at its port; workers at the port of the unit's default, and the next."""
    scraping = yaml.safe_load((DEPLOY / "prometheus-static.yml").read_text())
    containers = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert scraping["global"] == containers["global"]
    assert scraping["rule_files"] == containers["rule_files"]
    jobs = {job["job_name"]: job["static_configs"] for job in scraping["scrape_configs"]}
    assert list(jobs) == [job["job_name"] for job in containers["scrape_configs"]]
    (port,) = values(WORKER, "DefaultInstance")
    fleet = {"labels": {"fleet": "main"}}
    assert jobs == {
        "otpreport-worker": [{"targets": [f"127.0.0.1:{port}", f"127.0.0.1:{int(port) + 1}"], **fleet}],
        "otpreport-exporter": [{"targets": [f"127.0.0.1:{EXPORTER_PORT}"], **fleet}],
    }
    assert f"OTPREPORT_METRICS_PORT={EXPORTER_PORT}" in values(EXPORTER, "Environment")[0]
    assert int(port) == Settings.model_fields["metrics_port"].default
