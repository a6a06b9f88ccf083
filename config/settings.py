"""Every setting, typed, bounded and described; docs/settings.md is generated from it."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import (
    AfterValidator,
    Field,
    InstanceOf,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.account import DAY, KNOWN, Account, resolve
from config.duration import Seconds, Unit
from config.endpoint import check_redis_url
from config.faults import Fault, SettingsError, collected, from_validation, missing, plain, wrong
from config.numbers import refuse_misread
from config.routing import routed
from config.sources import (
    CONFIG_VARIABLE,
    SECRETS_VARIABLE,
    Environment,
    Layer,
    SecretsFolder,
    TomlFile,
    unmarked,
)

EXPORTER_PORT = 9807

HttpEngine = Literal["builtin", "httpx"]
LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """The settings of workers and commands; `load()` reads them from the environment and files.

    The constructor uses only its arguments, for tests. Fields are validated in order.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    redis_url: Annotated[SecretStr, AfterValidator(check_redis_url)] = Field(
        description="URL of the Redis or Valkey (7 or newer) that holds the queues: `redis://`, `rediss://`, `unix://` "
        "or `sentinel://`."
    )
    key_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9:._-]{0,64}$",
        description="Prefix of every key, for a Redis shared by several systems; set the same in the web app's "
        "`Reporter(key_prefix=...)`.",
    )
    retry_base: Seconds = Field(
        default=1.0,
        ge=0.001,
        le=3600.0,
        allow_inf_nan=False,
        description="Back-off ceiling of the first retry; it doubles with each further one, and the actual wait is "
        "random below it.",
    )
    retry_cap: Seconds = Field(
        default=300.0, ge=0.001, le=DAY, allow_inf_nan=False, description="Highest back-off ceiling."
    )
    dedupe_ttl: Seconds = Field(
        default=DAY,
        ge=1.0,
        le=30 * DAY,
        allow_inf_nan=False,
        description="How long a delivered event is remembered, so that a duplicate is not sent; at least the "
        "largest `MAX_AGE`.",
    )
    concurrency: Annotated[int, Unit("requests")] = Field(
        default=400,
        ge=1,
        le=10_000,
        description="Maximum requests in flight per worker process.",
    )
    worker_pace: Annotated[int, Unit("reports/s")] = Field(
        default=800,
        ge=1,
        le=100_000,
        description="Throughput assumed per worker process in `otpreport_desired_workers`; measure it on your "
        "hardware.",
    )
    breaker_failures: float = Field(
        default=0.5,
        gt=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="Share of an account's requests within 10 s that must fail, or be slow, to open its circuit "
        "breaker.",
    )
    breaker_calls: int = Field(
        default=20,
        ge=0,
        description="Least requests within 10 s for the circuit breaker to open; 0 disables it.",
    )
    breaker_slow: Seconds = Field(
        default=5.0,
        ge=0.01,
        le=600.0,
        allow_inf_nan=False,
        description="A request that takes this long counts as failed for the circuit breaker, whatever its answer.",
    )
    refused_run: Annotated[int, Unit("events")] = Field(
        default=50,
        ge=0,
        le=1_000_000,
        description="Consecutive permanently refused events that stop an account until probes show whether the "
        "account or "
        "the events are at fault; 0 disables this.",
    )
    dead_keep_age: Seconds = Field(
        default=30 * DAY,
        ge=1.0,
        le=3650 * DAY,
        allow_inf_nan=False,
        description="How long a dead letter is kept; older ones are removed and counted as purged, unless queued "
        "for replay.",
    )
    dead_keep_count: Annotated[int, Unit("dead letters")] = Field(
        default=1_000_000,
        ge=1,
        description="Dead letters kept per account; the oldest are removed first. All accounts together use at most a "
        "third of Redis' `maxmemory`, in equal parts.",
    )
    connect_timeout: Seconds = Field(
        default=5.0,
        ge=0.01,
        le=60.0,
        allow_inf_nan=False,
        description="Timeout for connecting to a provider, including TLS.",
    )
    read_timeout: Seconds = Field(
        default=10.0,
        ge=0.01,
        le=300.0,
        allow_inf_nan=False,
        description="Timeout for a provider's answer; the event is then in doubt, and retried.",
    )
    http_engine: HttpEngine = Field(
        default="builtin",
        description="HTTP client. `httpx`, if you need its transports, costs several times the CPU, may miss its "
        "slot when connecting is slow, limits an endless answer only by `READ_TIMEOUT`, and can't use a proxy.",
    )
    grace: Seconds = Field(
        default=20.0,
        ge=0.1,
        le=3600.0,
        allow_inf_nan=False,
        description="Time from SIGTERM until a worker hands back unfinished events; give the supervisor a longer "
        "stop timeout.",
    )
    lease: Seconds = Field(
        default=30.0,
        ge=0.1,
        le=3600.0,
        allow_inf_nan=False,
        description="How long a silent worker keeps its events before others recover them; more than `CONNECT_TIMEOUT` "
        "plus `READ_TIMEOUT`.",
    )
    metrics_port: int = Field(
        default=9808,
        ge=0,
        le=65_535,
        description="Port of `/metrics`, `/healthz` and `/readyz`; the exporter's default is 9807. 0: any free "
        "port. If the "
        "port is in use, the next free one is taken; the log says which.",
    )
    metrics_host: str = Field(
        default="localhost",
        pattern=r"^(localhost|\*|[0-9A-Fa-f.:]{2,45})$",
        description="Listen address of this port: an address of the machine, `localhost` (127.0.0.1 and ::1) or "
        "`*` (all, "
        "IPv4 and IPv6), the default of the container image.",
    )
    allowed_hosts: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]*(,\s*[A-Za-z0-9._-]+)*$",
        description="Comma-separated host names under which browsers may open the status page, besides "
        "addresses, localhost "
        "and names without a dot. `/metrics` and the health checks accept any.",
    )
    log_level: LogLevel = Field(default="info", description="Lowest level that is logged.")
    log_format: LogFormat = Field(
        default="auto",
        description="`json`, `console` (readable), or `auto`: console on a terminal, json elsewhere.",
    )
    log_sample: float = Field(
        default=0.01,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="Share of delivered attempts that are logged; failed ones always are.",
    )
    accounts: dict[str, InstanceOf[Account]] = Field(
        default_factory=dict, validate_default=True, description="The accounts, by name; at least one."
    )

    keyless: ClassVar[bool] = False
    """Whether accounts may lack keys, or be absent: read-only commands find the rest in Redis."""

    _refuse_misread = field_validator("*", mode="before")(refuse_misread)

    @property
    def exporter_port(self) -> int:
        """Return the exporter's port: METRICS_PORT if set, else its own default."""
        return self.metrics_port if "metrics_port" in self.model_fields_set else EXPORTER_PORT

    @property
    def page_hosts(self) -> frozenset[str]:
        """Return the names of ALLOWED_HOSTS as the page compares them."""
        return frozenset(name.strip().lower().removesuffix(".") for name in self.allowed_hosts.split(",")) - {
            ""
        }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the constructor use only its arguments; `load()` has its own sources."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @field_validator("accounts", mode="before")
    @classmethod
    def _resolve_accounts(cls, value: object, info: ValidationInfo) -> dict[str, Account]:
        tables = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        if not tables and not cls.keyless:
            raise collected([_no_account()])
        accounts, faults = resolve(tables, keyless=cls.keyless)
        faults += _forgotten_too_early(info.data.get("dedupe_ttl"), accounts)
        if faults:
            raise collected(faults)
        return accounts

    @field_validator("http_engine", "log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("retry_cap")
    @classmethod
    def _cap_holds_base(cls, value: float, info: ValidationInfo) -> float:
        base = float(info.data.get("retry_base", value))
        if value < base:
            raise wrong(f"is {plain(value)}, less than retry_base", f"give at least {plain(base)} seconds")
        return value

    @field_validator("lease")
    @classmethod
    def _lease_outlives_request(cls, value: float, info: ValidationInfo) -> float:
        longest = float(info.data.get("connect_timeout", 0.0)) + float(info.data.get("read_timeout", 0.0))
        if value <= longest:
            raise wrong(
                f"is {plain(value)}, not more than connect_timeout plus read_timeout",
                f"give more than {plain(longest)} seconds, or shorten the timeouts",
            )
        return value


class KeylessSettings(Settings):
    """The settings of read-only commands."""

    keyless: ClassVar[bool] = True


def load(env: Mapping[str, str] | None = None, *, keyless: bool = False) -> Settings:
    """Read the settings: the environment overrides the TOML file, which overrides the secrets folder.

    `env` replaces the environment; `keyless`: accounts need no keys. Raises SettingsError with all faults.
    """
    environment = unmarked(os.environ if env is None else env)
    layers = _layers(environment)
    settings, faults = _validated(layers, KeylessSettings if keyless else Settings)
    if settings is not None and not keyless:
        settings, wrong_routes = _routed(settings, environment)
        faults += wrong_routes
    if settings is None or faults:
        # outside the except clause, so that pydantic's error, which holds the values, is not its context
        raise SettingsError(faults)
    return settings


def where_set(name: str, env: Mapping[str, str] | None = None) -> str:
    """Return a setting's name with the variable or file that it comes from, for a message."""
    layers = _layers(unmarked(os.environ if env is None else env))
    origin = next((layer.origins[(name,)] for layer in layers if (name,) in layer.origins), "")
    return f"{name} from {origin}" if origin else name


def _layers(environment: Mapping[str, str]) -> tuple[Layer, ...]:
    """Read the sources; the first that has a value wins."""
    return (
        Environment(Settings, environment),
        TomlFile(Settings, environment.get(CONFIG_VARIABLE, "")),
        SecretsFolder(Settings, environment.get(SECRETS_VARIABLE, "")),
    )


def _validated(layers: tuple[Layer, ...], kind: type[Settings]) -> tuple[Settings | None, list[str]]:
    faults = [fault for layer in layers for fault in layer.faults]
    settings: Settings | None = None
    sources: dict[str, Any] = {"_build_sources": (layers, {})}  # unknown to the type checkers under its name
    try:
        settings = kind(**sources)
    except ValidationError as error:
        faults += from_validation(error, Settings)
    unread = [path for layer in layers for path in layer.unread]
    if any(fault.is_missing and not fault.stems_from(unread) for fault in faults):
        faults = [layer.empty for layer in layers if layer.empty] + faults
    origins = {path: origin for layer in reversed(layers) for path, origin in layer.origins.items()}
    lines = [fault.line(origins) for fault in faults if not fault.stems_from(unread)]
    return settings, list(dict.fromkeys(lines))


def _routed(settings: Settings, environment: Mapping[str, str]) -> tuple[Settings, list[str]]:
    tunnels = settings.http_engine == "builtin"
    found = [routed(account, environment, tunnels=tunnels) for account in settings.accounts.values()]
    accounts = {account.name: account for account, _ in found}
    lines = [fault.line({}) for _, faults in found for fault in faults]
    return settings.model_copy(update={"accounts": accounts}), list(dict.fromkeys(lines))


def _no_account() -> Fault:
    return missing(("accounts", "<name>", "provider"), f" to one of {KNOWN}: no account is configured yet")


def _forgotten_too_early(dedupe_ttl: float | None, accounts: Mapping[str, Account]) -> list[Fault]:
    oldest = max(accounts.values(), key=lambda account: account.max_age, default=None)
    if oldest is None or dedupe_ttl is None or dedupe_ttl >= oldest.max_age:
        return []
    problem = (
        f"is {plain(dedupe_ttl)}, less than accounts.{oldest.name}.max_age: events could be reported twice"
    )
    return [
        Fault(("dedupe_ttl",), problem, f"give at least {plain(oldest.max_age)} seconds, or lower max_age")
    ]
