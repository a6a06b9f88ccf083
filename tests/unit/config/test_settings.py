import contextlib
import logging
from io import StringIO
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import config
from config.account import KNOWN
from config.settings import Settings
from providers.registry import REGISTRY
from providers.tencent import Tencent
from tests.unit.config.environment import GOOD, SECRET, account, faults

CASES = {
    "redis_url is missing": ({"OTPREPORT_REDIS_URL": ""}, "redis_url is missing: set OTPREPORT_REDIS_URL"),
    "a missing key": (
        {"OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY": ""},
        "accounts.tencent.secret_key is missing: set OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY",
    ),
    "zero": (
        {"OTPREPORT_CONCURRENCY": "0"},
        "concurrency is 0 (from OTPREPORT_CONCURRENCY): give a whole number from 1 to 10000",
    ),
    "no whole number": (
        {"OTPREPORT_CONCURRENCY": "1.5"},
        "concurrency is 1.5 (from OTPREPORT_CONCURRENCY): give a whole number from 1 to 10000",
    ),
    "negative": (
        {"OTPREPORT_GRACE": "-20s"},
        ("grace is -20 (from OTPREPORT_GRACE): give a number of seconds (or 30s, 5m, 24h) from 0.1 to 3600"),
    ),
    "huge": (
        {"OTPREPORT_READ_TIMEOUT": "9d"},
        (
            "read_timeout is 777600 (from OTPREPORT_READ_TIMEOUT): give a number of seconds "
            "(or 30s, 5m, 24h) from 0.01 to 300"
        ),
    ),
    "infinite": (
        {"OTPREPORT_RETRY_BASE": "inf"},
        (
            "retry_base is not a number in range (from OTPREPORT_RETRY_BASE): give a number of seconds "
            "(or 30s, 5m, 24h) from 0.001 to 3600"
        ),
    ),
    "a share over one": (
        {"OTPREPORT_LOG_SAMPLE": "2"},
        "log_sample is 2 (from OTPREPORT_LOG_SAMPLE): give a number from 0 to 1",
    ),
    "an account's rate": (
        {"OTPREPORT_ACCOUNTS__TENCENT__RATE_LIMIT": "1000000"},
        (
            "accounts.tencent.rate_limit is 1000000 (from OTPREPORT_ACCOUNTS__TENCENT__RATE_LIMIT): "
            "give a whole number from 1 to 100000"
        ),
    ),
    "an unknown word": (
        {"OTPREPORT_LOG_LEVEL": "loud"},
        "log_level is not valid (from OTPREPORT_LOG_LEVEL): use one of 'debug', 'info', 'warning' or 'error'",
    ),
    "a prefix with a space": (
        {"OTPREPORT_KEY_PREFIX": "a b"},
        "key_prefix is not valid (from OTPREPORT_KEY_PREFIX): use only what matches ^[A-Za-z0-9:._-]{0,64}$",
    ),
    "a lease that ends before a slow answer": (
        {"OTPREPORT_LEASE": "15"},
        (
            "lease is 15, not more than connect_timeout plus read_timeout (from OTPREPORT_LEASE): "
            "give more than 15 seconds, or shorten the timeouts"
        ),
    ),
    "a cap under the base": (
        {"OTPREPORT_RETRY_BASE": "5m", "OTPREPORT_RETRY_CAP": "10"},
        "retry_cap is 10, less than retry_base (from OTPREPORT_RETRY_CAP): give at least 300 seconds",
    ),
    "dedupe forgets too early": (
        {"OTPREPORT_DEDUPE_TTL": "1h"},
        (
            "dedupe_ttl is 3600, less than accounts.tencent.max_age: events could be reported twice "
            "(from OTPREPORT_DEDUPE_TTL): give at least 86400 seconds, or lower max_age"
        ),
    ),
    "an unknown provider": (
        {"OTPREPORT_ACCOUNTS__TENCENT__PROVIDER": "tencnet"},
        (
            "accounts.tencent.provider is not a known provider (from OTPREPORT_ACCOUNTS__TENCENT__PROVIDER): "
            f"did you mean tencent? Use one of {KNOWN}"
        ),
    ),
    "a misspelt field of an account": (
        {"OTPREPORT_ACCOUNTS__TENCENT__MAX_ATEMPTS": "3"},
        (
            "accounts.tencent.max_atempts is unknown (from OTPREPORT_ACCOUNTS__TENCENT__MAX_ATEMPTS): "
            "did you mean max_attempts?"
        ),
    ),
    "a misspelt account": (
        {"OTPREPORT_ACCOUNTS__TENCNT__REGION": "x"},
        (
            "accounts.tencnt.provider is missing: set OTPREPORT_ACCOUNTS__TENCNT__PROVIDER to one of "
            f"{KNOWN}, or did you mean the account tencent?"
        ),
    ),
    "a misspelt variable": (
        {"OTPREPORT_METRICSPORT": "1"},
        "metricsport is unknown (from OTPREPORT_METRICSPORT): did you mean metrics_port?",
    ),
    "single underscores": (
        {"OTPREPORT_ACCOUNTS_TENCENT_REGION": "x"},
        (
            "OTPREPORT_ACCOUNTS_TENCENT_REGION is unknown: write an account's setting as "
            "OTPREPORT_ACCOUNTS__<NAME>__<SETTING>, with double underscores"
        ),
    ),
    "nested where nothing nests": (
        {"OTPREPORT_REDIS__URL": "x"},
        "OTPREPORT_REDIS__URL is unknown: did you mean OTPREPORT_REDIS_URL?",
    ),
    "an endpoint with a path": (
        {"OTPREPORT_ACCOUNTS__TENCENT__ENDPOINT": "https://host/path"},
        (
            "accounts.tencent.endpoint is not a base URL (from OTPREPORT_ACCOUNTS__TENCENT__ENDPOINT): "
            "write https://host or https://host:port, without a path"
        ),
    ),
    "an endpoint in clear": (
        {"OTPREPORT_ACCOUNTS__TENCENT__ENDPOINT": "http://sms.tencentcloudapi.com"},
        (
            "accounts.tencent.endpoint would send reports unencrypted over the network "
            "(from OTPREPORT_ACCOUNTS__TENCENT__ENDPOINT): write https://"
        ),
    ),
    "a key with a line break": (
        {"OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY": f"{SECRET}\n{SECRET}"},
        (
            "accounts.tencent.secret_key is not valid (from OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY): "
            "write visible ASCII, at least one character"
        ),
    ),
}


@pytest.mark.parametrize(("change", "line"), CASES.values(), ids=CASES)
def test_one_fault_one_line(change: dict[str, str], line: str) -> None:
    """Each fault is told in one line that says what, where and the fix."""
    assert faults(GOOD | change) == [line]


def test_good_settings_have_no_fault() -> None:
    """The environment that the faults are made from is right, with every default in place."""
    settings = config.load(GOOD)
    tencent = settings.accounts["tencent"]
    assert (settings.lease, settings.concurrency, settings.metrics_port) == (30.0, 400, 9808)
    assert (tencent.endpoint, tencent.rate_limit) == ("https://sms.tencentcloudapi.com", 1000)
    assert (tencent.max_attempts, tencent.max_age) == (12, 86_400.0)


@pytest.mark.parametrize("around", ["{}\n", " {}\r\n", '"{}"', "'{}'", '"{}"\n'])
def test_what_comes_along_with_a_value_is_left_out(around: str, tmp_path: Path) -> None:
    """Line breaks of secrets, quotes of `docker run --env-file`: in every setting, from variables and from files."""
    named = {name.lower(): value for name, value in GOOD.items()}
    for name, value in named.items():
        (tmp_path / name).write_text(around.format(value), encoding="utf-8-sig")
    config_file = tmp_path / "otpreport.toml"
    config_file.write_text("concurrency = 7\n", encoding="utf-8-sig")
    expected = config.load({**GOOD, "OTPREPORT_CONFIG": str(config_file)})
    odd = {name: around.format(value) for name, value in GOOD.items()}
    assert config.load({**odd, "OTPREPORT_CONFIG": around.format(config_file)}) == expected
    folder = {"OTPREPORT_SECRETS_DIR": around.format(tmp_path), "OTPREPORT_CONCURRENCY": around.format(7)}
    assert config.load(folder) == expected
    files = {f"{name}_FILE": around.format(tmp_path / name.lower()) for name in GOOD}
    assert config.load({**files, "\ufeffOTPREPORT_CONCURRENCY": "7"}) == expected


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("redis://${REDIS_HOST}:6379/0", "${REDIS_HOST}"),
        ("redis://:${PASSWORD:-s3cr3t-VALUE}@db/0", "${PASSWORD}"),
        ("$(REDIS_URL)", "$(REDIS_URL)"),
        ("redis://{{ .Values.redis }}/0", "{{ }}"),
    ],
)
def test_a_reference_that_nothing_replaced(value: str, shown: str, tmp_path: Path) -> None:
    """Env files, systemd, TOML and Kubernetes leave some as they are: the setting and its source are named."""
    (tmp_path / "otpreport_redis_url").write_text(value)
    (tmp_path / "otpreport.toml").write_text(f'redis_url = "{value}"\n')
    bare = {name: text for name, text in GOOD.items() if name != "OTPREPORT_REDIS_URL"}
    sources = {
        "OTPREPORT_REDIS_URL": ({"OTPREPORT_REDIS_URL": value}, "OTPREPORT_REDIS_URL"),
        "a file": (
            {"OTPREPORT_REDIS_URL_FILE": str(tmp_path / "otpreport_redis_url")},
            "OTPREPORT_REDIS_URL_FILE",
        ),
        "TOML": ({"OTPREPORT_CONFIG": str(tmp_path / "otpreport.toml")}, str(tmp_path / "otpreport.toml")),
    }
    fix = "write the value itself: files and variables are read as they are"
    for variables, origin in sources.values():
        (found,) = faults({**bare, **variables})
        assert found == f"redis_url holds {shown}, which nothing has replaced (from {origin}): {fix}"


@pytest.mark.parametrize("value", ["a$b", "$1", "a${b", "$()", "{x}", "$HOME", "%HOME%", "a{{b"])
def test_what_is_no_reference(value: str) -> None:
    """A key may have any of these letters."""
    name = "OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY"
    assert config.load({**GOOD, name: value}).accounts["tencent"].options.model_dump()["secret_key"]


@pytest.mark.parametrize("name", ["export {}", "set {}", "{} ", " {}", "\ufeffexport {}"])
def test_what_comes_along_with_a_name_is_left_out(name: str) -> None:
    """Whoever reads an env file literally leaves `export `, and the spaces around `=`, in the names."""
    odd = {name.format(variable): f" {value}" for variable, value in GOOD.items()}
    assert config.load(odd) == config.load(GOOD)


@pytest.mark.parametrize("text", ["1.000", "10.000", "1,000", "1 000", "1'000"])
def test_a_thousands_separator_is_told(text: str) -> None:
    """`1.000` would be read as 1 without a word; `1_000` and `5.0` are clear."""
    name = "OTPREPORT_ACCOUNTS__TENCENT__RATE_LIMIT"
    (found,) = faults({**GOOD, name: text})
    assert found.startswith("accounts.tencent.rate_limit is ")
    assert found.endswith("give a whole number from 1 to 100000")
    assert config.load({**GOOD, name: "1_000"}).accounts["tencent"].rate_limit == 1000
    assert config.load({**GOOD, name: "5.0"}).accounts["tencent"].rate_limit == 5


def test_a_quoted_nothing_is_not_set() -> None:
    """`NAME=""` in such a file is no value."""
    assert faults({**GOOD, "OTPREPORT_REDIS_URL": '""'}) == ["redis_url is missing: set OTPREPORT_REDIS_URL"]


def test_all_faults_are_told_at_once() -> None:
    """One start shows every fault, those of several accounts and of values together included."""
    wrong = {
        "OTPREPORT_REDIS_URL": f"http://:{SECRET}@host",
        "OTPREPORT_CONNECT_TIMEOUT": SECRET,
        "OTPREPORT_DEDUPE_TTL": "1h",
        "OTPREPORT_LEASE": "9",
        "OTPREPORT_ACCOUNTS__A__PROVIDER": "alibaba",
        "OTPREPORT_ACCOUNTS__A__ACCESS_KEY_ID": "a b",
        "OTPREPORT_ACCOUNTS__B__RATE_LIMIT": "0",
    }
    told = faults(GOOD | wrong)
    assert [line.split()[0] for line in told] == [
        "redis_url",
        "connect_timeout",
        "lease",
        "accounts.a.access_key_id",
        "accounts.a.access_key_secret",
        "accounts.b.provider",
        "dedupe_ttl",
    ]


def test_no_account() -> None:
    """Without an account there is nothing to run, and the line says how to name one."""
    (line,) = faults({"OTPREPORT_REDIS_URL": "redis://localhost"})
    assert line == (
        "accounts.<name>.provider is missing: set OTPREPORT_ACCOUNTS__<NAME>__PROVIDER to one of "
        f"{KNOWN}: no account is configured yet"
    )


def test_who_only_looks_on_needs_no_keys() -> None:
    """Keys that are not there are not missed; what else is wrong is told, and so are keys that are no keys."""
    bare = {name: value for name, value in GOOD.items() if "SECRET" not in name}
    [found] = config.load(bare, keyless=True).accounts.values()
    assert (found.provider, found.rate_limit, found.group_is_chosen) == ("tencent", 1000, False)
    assert config.load(GOOD, keyless=True).accounts == config.load(GOOD).accounts
    assert config.load({"OTPREPORT_REDIS_URL": "redis://localhost"}, keyless=True).accounts == {}
    for wrong, named in (
        (bare | {"OTPREPORT_ACCOUNTS__TENCENT__SDK_APP_ID": ""}, "sdk_app_id is missing"),
        (bare | {"OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY": "a b"}, "secret_key is not valid"),
        (bare | {"OTPREPORT_ACCOUNTS__TENCENT__PROVIDER": "nobody"}, "is not a known provider"),
    ):
        with pytest.raises(config.SettingsError, match=named):
            config.load(wrong, keyless=True)
    assert len(faults(bare)) == 2


def test_two_accounts_without_keys_are_two_groups() -> None:
    """Nobody can tell whether they share a key, so their limits may differ until Redis says that they do."""
    both = GOOD | account("OTHER", RATE_LIMIT="5")
    bare = {name: value for name, value in both.items() if "SECRET" not in name}
    groups = {one.rate_group for one in config.load(bare, keyless=True).accounts.values()}
    assert len(groups) == 2


def test_unequal_limits_in_a_group() -> None:
    """Accounts of one key share a limiter, so their limits have to be the same; another group parts them."""
    second = account("SECOND", RATE_LIMIT="500")
    (line,) = faults(GOOD | second)
    assert line == (
        "accounts.second.rate_limit is 500, but accounts.tencent of the same rate group has 1000 "
        "(from OTPREPORT_ACCOUNTS__SECOND__RATE_LIMIT): set both to the same number, "
        "or give second its own rate_group"
    )
    parted = config.load(GOOD | second | {"OTPREPORT_ACCOUNTS__SECOND__RATE_GROUP": "own"})
    assert [account.rate_limit for account in parted.accounts.values()] == [1000, 500]


def test_one_limit_of_requests_in_flight_for_a_group() -> None:
    """Accounts that share permits have to say the same; one that says nothing does not."""
    (line,) = faults(GOOD | account("SECOND") | {"OTPREPORT_ACCOUNTS__TENCENT__MAX_IN_FLIGHT": "5"})
    assert line == (
        "accounts.second.max_in_flight is not set, but accounts.tencent of the same rate group has 5: "
        "set both to the same number, or give second its own rate_group"
    )
    assert faults(GOOD | {"OTPREPORT_ACCOUNTS__TENCENT__MAX_IN_FLIGHT": "0"})


def test_the_default_group_is_per_provider_endpoint_and_key() -> None:
    """Same key and endpoint: one group, whatever the account's name; and the key id is not shown in it."""
    others = account("SAME") | account("KEY", SECRET_ID="AKIDother")
    others |= account("HOST", ENDPOINT="https://sms.example.com")
    groups = {name: found.rate_group for name, found in config.load(GOOD | others).accounts.items()}
    assert groups["tencent"] == groups["same"]
    assert len(set(groups.values())) == 3
    assert "AKIDexample" not in repr(groups)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:8080",
        "http://localhost/",
        "http://[::1]:8080",
        "http://simulator:9000",
        "https://a.b",
    ],
)
def test_endpoints_that_are_right(endpoint: str) -> None:
    """Plain http is for this host and for a container's name; a slash at the end says nothing."""
    settings = config.load(GOOD | {"OTPREPORT_ACCOUNTS__TENCENT__ENDPOINT": endpoint})
    assert settings.accounts["tencent"].endpoint == endpoint.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "rediss://user:p%40ss@host:6380/15?ssl_certfile=/c.pem",
        "unix:///run/redis.sock",
        "sentinel://a:26379,b:26379,c/mymaster/0",
        "sentinel://a:26379/mymaster?ssl=true&ssl_ca_certs=/ca.pem",
        "redis://[::1]:6379/0",
    ],
)
def test_redis_urls_that_are_right(url: str) -> None:
    """The four kinds of URL are taken as they are."""
    assert config.load(GOOD | {"OTPREPORT_REDIS_URL": url}).redis_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "redis://",
        "redis://host:99999",
        "redis://host/x",
        "unix://",
        "redis://a b",
        "sentinel://a:26379",
        "redis://h/0?db=-1",
        "redis://redis..svc/0",
        "sentinel://a:99999/mymaster",
    ],
)
def test_redis_urls_that_are_wrong(url: str) -> None:
    """Anything else is told without showing it, for a URL may hold a password."""
    (line,) = faults(GOOD | {"OTPREPORT_REDIS_URL": url})
    assert line.startswith("redis_url is not a Redis URL (from OTPREPORT_REDIS_URL): write redis://")


def test_an_unknown_option_of_the_redis_url() -> None:
    """It is named, with those that are known, and its value is not shown."""
    url = f"redis://h/0?decode_responses={SECRET}"
    (line,) = faults(GOOD | {"OTPREPORT_REDIS_URL": url})
    assert line.startswith(
        "redis_url has the unknown option decode_responses (from OTPREPORT_REDIS_URL): use one of client_name, db, "
    )


def test_account_names_are_lower_cased_and_may_hold_two_underscores() -> None:
    """What stands between the first and the last `__` is the account's name."""
    settings = config.load(GOOD | account("MY__APP_1"))
    assert set(settings.accounts) == {"tencent", "my__app_1"}


@pytest.mark.parametrize("name", ["a b", "ä", "x" * 65])
def test_account_names_that_are_none(name: str) -> None:
    """A name that no queue can have is told."""
    told = faults(GOOD | {f"OTPREPORT_ACCOUNTS__{name}__PROVIDER": "tencent"})
    assert told == [f"accounts.{name} is not a valid account name: use 1 to 64 of a-z, 0-9, _ and -"]


def test_service_links_of_kubernetes_are_no_settings() -> None:
    """A Service called otpreport puts its own OTPREPORT_ variables into every pod; they are passed over."""
    links = {
        "OTPREPORT_SERVICE_HOST": "10.0.0.1",
        "OTPREPORT_SERVICE_PORT_METRICS": "9808",
        "OTPREPORT_PORT": "tcp://10.0.0.1:9808",
        "OTPREPORT_PORT_9808_TCP_ADDR": "10.0.0.1",
        "OTPREPORT_METRICS_PORT": "tcp://10.0.0.1:9808",
    }
    assert config.load(GOOD | links).metrics_port == 9808


TWILIO = {
    "OTPREPORT_REDIS_URL": "redis://localhost",
    "OTPREPORT_ACCOUNTS__T__PROVIDER": "twilio",
    "OTPREPORT_ACCOUNTS__T__ACCOUNT_SID": "AC00000000000000000000000000000001",
}


def test_either_of_two_kinds_of_keys_is_needed() -> None:
    """What is missing is named with its variable; who only looks on needs none of them."""
    with pytest.raises(config.SettingsError) as refused:
        config.load(TWILIO)
    (fault,) = refused.value.faults
    how = "set OTPREPORT_ACCOUNTS__T__AUTH_TOKEN, or give api_key_sid and api_key_secret"
    assert fault == f"accounts.t.auth_token is missing: {how}"
    assert config.load(TWILIO, keyless=True).accounts["t"].endpoint == "https://api.twilio.com"


def test_keys_of_one_owner_share_a_rate_group() -> None:
    """Two keys of one account at the provider are counted together, where the provider does so."""
    name = "OTPREPORT_ACCOUNTS__T__"
    token = config.load(TWILIO | {f"{name}AUTH_TOKEN": SECRET}).accounts["t"]
    key = {f"{name}API_KEY_SID": f"SK{'2' * 32}", f"{name}API_KEY_SECRET": SECRET}
    assert config.load(TWILIO | key).accounts["t"].rate_group == token.rate_group


class Regional(Tencent):
    """A provider whose endpoint is that of a region."""

    name: ClassVar[str] = "regional"
    endpoint: ClassVar[str] = "https://sms.{region}.example"
    deadline: ClassVar[float | None] = 900.0


class Personal(Tencent):
    """A provider that gives each account a host of its own."""

    name: ClassVar[str] = "personal"
    endpoint: ClassVar[str] = ""


def test_an_endpoint_and_a_deadline_are_the_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option may name the region of the default endpoint; where there is no default, one is required."""
    for kind in (Regional, Personal):
        monkeypatch.setitem(REGISTRY, kind.name, kind)
    provider = "OTPREPORT_ACCOUNTS__TENCENT__PROVIDER"
    regional = GOOD | {provider: "regional", "OTPREPORT_ACCOUNTS__TENCENT__REGION": "eu"}
    found = config.load(regional).accounts["tencent"]
    assert (found.endpoint, found.max_age) == ("https://sms.eu.example", 900.0)
    keyless = {name: value for name, value in regional.items() if "SECRET" not in name}
    assert config.load(keyless, keyless=True).accounts["tencent"].endpoint == "https://sms.eu.example"
    longer = regional | {"OTPREPORT_ACCOUNTS__TENCENT__MAX_AGE": "1h"}
    assert config.load(longer).accounts["tencent"].max_age == 3600.0
    with pytest.raises(config.SettingsError, match=r"accounts\.tencent\.endpoint is missing: set"):
        config.load(GOOD | {provider: "personal"})


def test_the_exporter_has_a_port_of_its_own() -> None:
    """METRICS_PORT is read by the exporter too, where it is set; else it has another default."""
    assert config.load(GOOD).exporter_port == 9807
    assert config.load(GOOD | {"OTPREPORT_METRICS_PORT": "9900"}).exporter_port == 9900


def test_secrets_do_not_show() -> None:
    """Neither the settings nor an account print a secret."""
    settings = config.load(GOOD)
    assert SECRET not in f"{settings!r}{settings}{settings.model_dump()}"
    assert SECRET in settings.redis_url.get_secret_value()


def test_the_debug_log_of_pydantic_settings_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its debug switch logs what each source returned, yet nothing of ours shows."""
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    stream = StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger("pydantic_settings")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        config.load(GOOD)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert "Environment" in stream.getvalue(), "the switch did nothing, so the test would prove nothing"
    assert SECRET not in stream.getvalue()


def test_the_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `load` looks around; settings made by hand are what was given."""
    monkeypatch.setenv("OTPREPORT_CONCURRENCY", "7")
    monkeypatch.setenv("CONCURRENCY", "7")
    accounts = config.load(GOOD).accounts
    assert Settings(redis_url=SecretStr("redis://localhost"), accounts=accounts).concurrency == 400


def test_load_reads_the_process_environment_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the settings come from the process itself."""
    for name, value in (GOOD | {"OTPREPORT_CONCURRENCY": "7"}).items():
        monkeypatch.setenv(name, value)
    assert config.load().concurrency == 7


@given(st.dictionaries(st.sampled_from([*GOOD, "OTPREPORT_LEASE", "OTPREPORT_X__Y"]), st.text(max_size=20)))
def test_no_environment_ends_in_a_traceback(change: dict[str, str]) -> None:
    """Whatever stands in the variables, it is settings or a SettingsError."""
    with contextlib.suppress(config.SettingsError):
        config.load(GOOD | change)


@pytest.mark.parametrize(
    ("provider", "given", "unverified"),
    [
        ("aws", None, "report"),
        ("aws", "never", "never"),
        ("alibaba", None, "never"),
        ("alibaba", "report", "report"),
    ],
)
def test_only_who_asks_for_it_hears_by_itself_of_otps_not_verified(
    provider: str, given: str | None, unverified: str
) -> None:
    """AWS asks for such reports; of the others nobody knows whether they lower the routing of an account."""
    one = "OTPREPORT_ACCOUNTS__ONE__"
    keys = (
        {"ACCESS_KEY_ID": "x" * 16, "REGION": "eu-west-1"}
        if provider == "aws"
        else {"ACCESS_KEY_ID": "x" * 16}
    )
    secret = "SECRET_ACCESS_KEY" if provider == "aws" else "ACCESS_KEY_SECRET"
    settings = {"PROVIDER": provider, secret: "s" * 16} | keys | ({"UNVERIFIED": given} if given else {})
    found = config.load(
        {"OTPREPORT_REDIS_URL": "redis://x"} | {one + name: value for name, value in settings.items()}
    )
    assert found.accounts["one"].unverified == unverified
