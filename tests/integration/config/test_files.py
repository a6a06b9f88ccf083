import errno
import os
from pathlib import Path

import pytest

import config
from config import sources
from config.settings import where_set
from tests.unit.config.environment import GOOD, SECRET, faults

KEY = "OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY"
WITHOUT_KEY = {name: value for name, value in GOOD.items() if name != KEY}


def written(file: Path, text: str) -> str:
    """Write a file and return its path as a variable holds it."""
    file.write_text(text, encoding="utf-8")
    return str(file)


def secret_key(environment: dict[str, str]) -> str:
    """Return the key that the settings hold."""
    options: dict[str, object] = dict(config.load(environment).accounts["tencent"].options)
    return str(getattr(options["secret_key"], "get_secret_value")())  # noqa: B009


def test_a_variable_can_name_a_file(tmp_path: Path) -> None:
    """`<FIELD>_FILE` is read for any setting, and the line break at the file's end is no part of it."""
    environment = WITHOUT_KEY | {
        f"{KEY}_FILE": written(tmp_path / "key", f"{SECRET}-2\n"),
        "OTPREPORT_REDIS_URL": "",
        "OTPREPORT_REDIS_URL_FILE": written(tmp_path / "url", "redis://filed:6379/1\n"),
    }
    assert secret_key(environment) == f"{SECRET}-2"
    assert config.load(environment).redis_url.get_secret_value() == "redis://filed:6379/1"


def test_a_secrets_folder(tmp_path: Path) -> None:
    """A folder holds one file a setting; files of other programs and hidden ones are passed over."""
    written(tmp_path / "otpreport_accounts__tencent__secret_key", f"{SECRET}-3\n")
    written(tmp_path / "other_password", "x")
    (tmp_path / "..data").mkdir()
    assert secret_key(WITHOUT_KEY | {"OTPREPORT_SECRETS_DIR": str(tmp_path)}) == f"{SECRET}-3"


def test_a_toml_file(tmp_path: Path) -> None:
    """Every setting can stand in TOML, numbers as numbers, an account's app id too."""
    file = written(
        tmp_path / "otpreport.toml",
        f"""
        redis_url = "redis://localhost"
        retry_cap = "5m"
        lease = 40

        [accounts.my-app]
        provider = "tencent"
        secret_id = "AKIDexample"
        secret_key = "{SECRET}"
        sdk_app_id = 1400000001
        rate_limit = 20
        """,
    )
    settings = config.load({"OTPREPORT_CONFIG": file})
    assert (settings.retry_cap, settings.lease) == (300.0, 40.0)
    assert settings.accounts["my-app"].rate_limit == 20
    assert dict(settings.accounts["my-app"].options)["sdk_app_id"] == "1400000001"


def test_precedence(tmp_path: Path) -> None:
    """The environment wins over the TOML file, and that over the secrets folder, setting by setting."""
    toml = 'lease = 41\ngrace = 11\n[accounts.tencent]\nregion = "toml"\n'
    for name, value in {"lease": "42", "grace": "12", "concurrency": "42"}.items():
        written(tmp_path / f"otpreport_{name}", value)
    settings = config.load(
        GOOD
        | {
            "OTPREPORT_CONFIG": written(tmp_path / "x.toml", toml),
            "OTPREPORT_SECRETS_DIR": str(tmp_path),
            "OTPREPORT_LEASE": "40",
        }
    )
    assert (settings.lease, settings.grace, settings.concurrency) == (40.0, 11.0, 42)
    assert dict(settings.accounts["tencent"].options)["region"] == "toml"


def test_an_unreadable_file_is_one_fault(tmp_path: Path) -> None:
    """A file that is not there is told once, and not again as a missing setting."""
    file = tmp_path / "nowhere"
    assert faults(WITHOUT_KEY | {f"{KEY}_FILE": str(file)}) == [
        f"{KEY}_FILE names {file}, which can't be read: No such file or directory"
    ]


def test_an_empty_file_is_one_fault(tmp_path: Path) -> None:
    """A secret that was not written yet is told."""
    file = written(tmp_path / "key", "\n")
    assert faults(WITHOUT_KEY | {f"{KEY}_FILE": file}) == [
        f"{KEY}_FILE names {file}, which is empty: write the value into it"
    ]


def test_an_empty_settings_file_is_named_where_a_setting_is_missing(tmp_path: Path) -> None:
    """It comes first, before the settings that are not in it; with all of them elsewhere it harms nobody."""
    missing = "redis_url is missing: set OTPREPORT_REDIS_URL"
    for text, state in (("", "is empty"), ("# to be written\n", "holds no setting")):
        file = written(tmp_path / "x.toml", text)
        named = f"OTPREPORT_CONFIG names {file}, which {state}: write the settings into it"
        assert faults({"OTPREPORT_CONFIG": file})[:2] == [named, missing]
        assert config.load(GOOD | {"OTPREPORT_CONFIG": file}) == config.load(GOOD)


def test_a_secrets_folder_without_secrets_is_named_where_a_setting_is_missing(tmp_path: Path) -> None:
    """A folder of other files, or a volume that was not mounted yet."""
    written(tmp_path / "redis_url", "redis://forgotten:6379/0")
    named = {"OTPREPORT_SECRETS_DIR": str(tmp_path)}
    fix = "name each like its variable, as in otpreport_redis_url"
    assert faults(named)[:2] == [
        f"OTPREPORT_SECRETS_DIR names {tmp_path}, which has no file of a setting: {fix}",
        "redis_url is missing: set OTPREPORT_REDIS_URL",
    ]
    assert config.load(GOOD | named) == config.load(GOOD)


def test_where_a_setting_comes_from(tmp_path: Path) -> None:
    """For a message about its value: the variable, or the file."""
    toml = written(tmp_path / "x.toml", 'redis_url = "redis://other"')
    secret = written(tmp_path / "otpreport_redis_url", "redis://third")
    environment = {"OTPREPORT_SECRETS_DIR": str(tmp_path)}
    assert where_set("redis_url", environment) == f"redis_url from {secret}"
    environment |= {"OTPREPORT_CONFIG": toml}
    assert where_set("redis_url", environment) == f"redis_url from {toml}"
    assert where_set("redis_url", environment | GOOD) == "redis_url from OTPREPORT_REDIS_URL"
    assert where_set("redis_url", {}) == "redis_url"


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are told, not shown."""
    for content in (b"\xff\xfe", "key".encode("utf-16"), "key".encode("utf-16-le"), b"key\0"):
        (tmp_path / "key").write_bytes(content)
        assert faults(WITHOUT_KEY | {f"{KEY}_FILE": str(tmp_path / "key")}) == [
            f"{KEY}_FILE names {tmp_path / 'key'}, which can't be read: it is not UTF-8 text, save it as that"
        ]


def test_a_value_and_its_file_together(tmp_path: Path) -> None:
    """Which of two secrets counts would be a guess, so the start says so."""
    file = written(tmp_path / "key", "other")
    assert faults(GOOD | {f"{KEY}_FILE": file}) == [f"{KEY}_FILE and {KEY} are both set: keep one of them"]


def test_a_toml_file_that_is_none(tmp_path: Path) -> None:
    """A syntax error is told with its place alone; what the file would have set is not told as missing."""
    file = written(tmp_path / "x.toml", f'redis_url = "x" {SECRET}\n')
    assert faults({"OTPREPORT_CONFIG": file}) == [
        f"OTPREPORT_CONFIG names {file}, which is not valid TOML: fix it (at line 1, column 17)"
    ]


def test_a_number_in_toml_that_python_does_not_read(tmp_path: Path) -> None:
    """It has thousands of digits, and the parser says so in its own way."""
    file = written(tmp_path / "x.toml", f"concurrency = {'9' * 5000}\n")
    assert faults({"OTPREPORT_CONFIG": file}) == [
        f"OTPREPORT_CONFIG names {file}, which is not valid TOML: fix it"
    ]


@pytest.mark.parametrize("name", ["OTPREPORT_CONFIG", "OTPREPORT_SECRETS_DIR"])
def test_a_path_that_is_not_there(tmp_path: Path, name: str) -> None:
    """A named file or folder has to be there."""
    (line,) = faults(GOOD | {name: str(tmp_path / "nowhere")})
    assert line.startswith(f"{name} names {tmp_path / 'nowhere'}, which ")


def test_toml_faults_say_the_file(tmp_path: Path) -> None:
    """A wrong or unknown value is traced to the file it stands in."""
    file = written(tmp_path / "x.toml", 'leese = 3\nlog_sample = 2\naccounts.tencent = "x"\n[[accounts.b]]\n')
    environment = {name: value for name, value in GOOD.items() if "TENCENT" not in name}
    told = faults(environment | {"OTPREPORT_CONFIG": file})
    assert told == [
        f"log_sample is 2 (from {file}): give a number from 0 to 1",
        f"accounts.tencent is not a table (from {file}): write [accounts.tencent] with its settings below",
        f"accounts.b is not a table (from {file}): write [accounts.b] with its settings below",
        f"leese is unknown (from {file}): did you mean lease?",
    ]


@pytest.mark.parametrize("value", ["true", "false"])
def test_true_and_false_are_no_numbers(tmp_path: Path, value: str) -> None:
    """Not 1 and 0, as pydantic takes them: whole numbers, shares, durations, those of an account, too."""
    top = "metrics_port", "breaker_calls", "breaker_failures", "log_sample", "grace"
    own = "rate_limit", "max_attempts", "max_age"
    tables = [
        *(f"{name} = {value}" for name in top),
        "[accounts.tencent]",
        *(f"{name} = {value}" for name in own),
    ]
    file = written(tmp_path / "x.toml", "\n".join(tables))
    told = faults(GOOD | {"OTPREPORT_CONFIG": file})
    assert {line.split()[0] for line in told} == {*top, *(f"accounts.tencent.{name}" for name in own)}
    assert f"metrics_port is not a number in range (from {file}): give a whole number from 0 to 65535" in told
    assert f"breaker_calls is not valid (from {file}): give a number, not true or false" in told
    ones = written(tmp_path / "x.toml", "\n".join(tables).replace(value, "1"))
    assert config.load(GOOD | {"OTPREPORT_CONFIG": ones}).metrics_port == 1


@pytest.mark.parametrize("text", ["accounts = 5", "[[accounts]]", "accounts = []", "accounts = true"])
@pytest.mark.parametrize("environment", [GOOD, {"OTPREPORT_REDIS_URL": "redis://h"}], ids=["others", "alone"])
def test_accounts_that_are_no_tables(tmp_path: Path, environment: dict[str, str], text: str) -> None:
    """They are told, also where the environment has accounts of its own; an empty table is none."""
    file = written(tmp_path / "x.toml", text)
    assert faults(environment | {"OTPREPORT_CONFIG": file}) == [
        f"accounts is not a table (from {file}): write [accounts.<name>] with its settings below"
    ]
    empty = written(tmp_path / "x.toml", "[accounts]")
    assert set(config.load(GOOD | {"OTPREPORT_CONFIG": empty}).accounts) == {"tencent"}


@pytest.mark.parametrize("levels", [1, 400, 900, 5000])
@pytest.mark.parametrize("form", ["x = {lists}", "{dotted} = 1", "[{dotted}]"])
def test_toml_that_is_nested_too_deep(tmp_path: Path, form: str, levels: int) -> None:
    """However deep, it ends in a fault and not in a traceback."""
    text = form.format(lists="[" * levels + "]" * levels, dotted=".".join("x" * levels))
    file = written(tmp_path / "x.toml", text)
    (line,) = faults(GOOD | {"OTPREPORT_CONFIG": file})
    assert line.startswith((f"OTPREPORT_CONFIG names {file}, which is not valid TOML: ", "x is unknown"))


def test_a_name_with_a_dash_is_mended_in_the_file(tmp_path: Path) -> None:
    """No shell variable can hold a dash, so the fix points to the file."""
    file = written(
        tmp_path / "x.toml", '[accounts.my-app]\nprovider = "tencent"\nsecret_id = "a"\nsdk_app_id = "1"\n'
    )
    assert faults(GOOD | {"OTPREPORT_CONFIG": file}) == [
        (
            "accounts.my-app.secret_key is missing: "
            "set secret_key under [accounts.my-app] in the TOML file that OTPREPORT_CONFIG names"
        )
    ]


def test_an_unknown_file_in_the_secrets_folder(tmp_path: Path) -> None:
    """A misspelt file name is told like a misspelt variable."""
    file = written(tmp_path / "otpreport_redis_ulr", "redis://localhost")
    assert faults(GOOD | {"OTPREPORT_SECRETS_DIR": str(tmp_path)}) == [
        f"redis_ulr is unknown (from {file}): did you mean redis_url?"
    ]


def refuse(self: Path) -> bool:
    """Be the call of someone who may not look there."""
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))


@pytest.mark.parametrize("method", ["is_dir", "is_file", "iterdir"])
def test_a_secrets_folder_that_nobody_may_look_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """One line, not an account's missing settings as well; root may look everywhere, so the call itself refuses."""
    written(tmp_path / "otpreport_accounts__tencent__secret_key", SECRET)
    monkeypatch.setattr(Path, method, refuse)
    assert faults(WITHOUT_KEY | {"OTPREPORT_SECRETS_DIR": str(tmp_path)}) == [
        f"OTPREPORT_SECRETS_DIR names {tmp_path}, which can't be read: Permission denied"
    ]


@pytest.mark.parametrize("method", ["is_dir", "is_file", "iterdir"])
def test_a_forbidden_secrets_folder_that_nobody_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The default one may be another program's: it is as if there were none."""
    written(tmp_path / "otpreport_lease", "41")
    monkeypatch.setattr(sources, "DEFAULT_SECRETS_DIR", str(tmp_path))
    assert config.load(GOOD).lease == 41.0
    monkeypatch.setattr(Path, method, refuse)
    assert config.load(GOOD).lease == 30.0
