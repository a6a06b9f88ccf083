"""An account at a provider: its settings, and the account they resolve to."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Annotated, Literal, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from config.duration import Unit, parse_duration
from config.endpoint import check_endpoint
from config.faults import Fault, from_validation, missing, nearest, unknown
from config.implied import ImpliedDefault
from config.numbers import refuse_misread
from config.proxy import NONE, check_proxy, chosen_proxy
from config.route import Route, check_address, check_file
from providers.base import Provider
from providers.masking import shortened
from providers.registry import REGISTRY

DAY = 86_400.0
NO_LIMIT = "none"
"""How workers announce that requests in flight are not limited."""

KNOWN = ", ".join(sorted(REGISTRY))

Model = TypeVar("Model", bound=BaseModel)

_NAME = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)


class AccountSettings(BaseModel):
    """The settings every account has; its provider adds its own options."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    provider: str = Field(description=f"The provider of the account: {KNOWN}.")
    endpoint: Annotated[
        Annotated[str, AfterValidator(check_endpoint)] | None, ImpliedDefault("the provider's own")
    ] = Field(
        default=None,
        description="Base URL for reports, `https://host[:port]` (http only for this host and names without a dot).",
    )
    rate_limit: Annotated[int | None, Unit("requests/s"), ImpliedDefault("the provider's")] = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Rate limit across all workers.",
    )
    max_in_flight: Annotated[int | None, Unit("requests"), ImpliedDefault("no limit")] = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Most requests open at the provider at a time, across all workers. For a provider that counts "
        "requests in flight rather than a rate, as Twilio and Sinch do; neither publishes its number.",
    )
    rate_group: Annotated[str | None, ImpliedDefault("provider, host and key id or account")] = Field(
        default=None,
        pattern=r"^[A-Za-z0-9:._/-]{1,128}$",
        description="Accounts of one group share a rate limit, and that of requests in flight, as the provider counts "
        "them together.",
    )
    max_attempts: Annotated[int, Unit("attempts")] = Field(
        default=12,
        ge=1,
        le=1000,
        description="Failed attempts before an event becomes a dead letter; throttling and waiting do not count.",
    )
    max_age: Annotated[
        float | None,
        BeforeValidator(parse_duration),
        Unit("seconds"),
        ImpliedDefault("24h, or the provider's deadline"),
    ] = Field(
        default=None,
        ge=1.0,
        le=30 * DAY,
        allow_inf_nan=False,
        description="Oldest age at which an event is still sent, from code entry or replay; beyond it, it "
        "becomes a dead letter. For a provider with a deadline, counted from `sent_at` where it is given.",
    )
    proxy: Annotated[
        Annotated[SecretStr, AfterValidator(check_proxy)] | None,
        ImpliedDefault("`HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` of the environment"),
    ] = Field(
        default=None,
        description="HTTP proxy that requests go through, `http://[user:password@]host:port` or `https://...` (TLS to "
        f"the proxy); `{NONE}`: no proxy, whatever the environment says. TLS is with the provider, in the tunnel.",
    )
    ca_bundle: Annotated[str, AfterValidator(check_file), ImpliedDefault("the system's")] = Field(
        default="",
        description="PEM file of the certificate authorities that are trusted, in place of the system's.",
    )
    client_cert: Annotated[str, AfterValidator(check_file), ImpliedDefault("none")] = Field(
        default="",
        description="PEM file of the client certificate and those above it; its private key may be in it, too.",
    )
    client_key: Annotated[str, AfterValidator(check_file), ImpliedDefault("in `CLIENT_CERT`")] = Field(
        default="", description="PEM file of that certificate's private key, not encrypted."
    )
    source_address: Annotated[str, AfterValidator(check_address), ImpliedDefault("the system's choice")] = (
        Field(
            default="",
            description="IP address of this machine that connections are made from, where a provider allows only one.",
        )
    )
    unverified: Annotated[
        Literal["report", "never"] | None, ImpliedDefault("report for providers that ask for it, else never")
    ] = Field(
        default=None,
        description="Whether an OTP that was sent and not verified in time is reported by itself, where OTPs are "
        "tracked and the provider takes such a report.",
    )

    _refuse_misread = field_validator("*", mode="before")(refuse_misread)


@dataclass(frozen=True, slots=True)
class Account:
    """A configured account, every default filled in; `rate_limit` is requests a second, `max_age` seconds."""

    name: str
    provider: str
    endpoint: str
    rate_limit: int
    rate_group: str
    max_attempts: int
    max_age: float
    options: BaseModel
    max_in_flight: int | None = None
    group_is_chosen: bool = False
    """Whether `rate_group` was configured; if not, it derives from the key id."""
    unverified: str = "never"
    """Whether OTPs that were not verified are reported: "report" or "never"."""
    route: Route = field(default_factory=Route)
    proxy_is_chosen: bool = False
    """Whether `proxy` was configured; if not, the environment may name one."""


class NoKeys(BaseModel):
    """Replaces a provider's options where keys are absent and nothing is sent."""


def resolve(tables: Mapping[str, object], *, keyless: bool = False) -> tuple[dict[str, Account], list[Fault]]:
    """Return the valid accounts, and the faults of the others and between accounts.

    `keyless`: keys may be absent. The account then has no options, and is alone in its rate group until its workers'
    group is read from Redis.
    """
    accounts: dict[str, Account] = {}
    faults: list[Fault] = []
    for name, table in tables.items():
        account, found = _resolve(name, table, tables, keyless=keyless)
        faults += found
        if account is not None:
            accounts[name] = account
    return accounts, faults + _unequal_limits(accounts)


def _resolve(
    name: str, table: object, tables: Mapping[str, object], *, keyless: bool
) -> tuple[Account | None, list[Fault]]:
    path = ("accounts", name)
    if isinstance(table, Account):
        return table, []
    if not _NAME.fullmatch(name):
        return None, [Fault(path, "is not a valid account name", "use 1 to 64 of a-z, 0-9, _ and -")]
    if not isinstance(table, dict):
        return None, [Fault(path, "is not a table", f"write [accounts.{name}] with its settings below")]
    fields = cast("dict[str, object]", table)
    provider = fields.get("provider")
    if not isinstance(provider, str) or provider not in REGISTRY:
        return None, [_no_provider((*path, "provider"), provider, tables)]
    return _fill(path, fields, REGISTRY[provider], keyless=keyless)


def _no_provider(where: tuple[str, str, str], value: object, tables: Mapping[str, object]) -> Fault:
    if value is None:
        near = nearest(where[1], (name for name in tables if name != where[1]))
        return missing(
            where, f" to one of {KNOWN}" + (f", or did you mean the account {near}?" if near else "")
        )
    near = nearest(str(value), REGISTRY)
    return Fault(
        where, "is not a known provider", (f"did you mean {near}? " if near else "") + f"Use one of {KNOWN}"
    )


def _fill(
    path: tuple[str, str], fields: Mapping[str, object], provider: type[Provider], *, keyless: bool
) -> tuple[Account | None, list[Fault]]:
    common = {name: value for name, value in fields.items() if name in AccountSettings.model_fields}
    own = {name: value for name, value in fields.items() if name in provider.Options.model_fields}
    faults = [
        unknown((*path, name), (*AccountSettings.model_fields, *provider.Options.model_fields))
        for name in fields
        if name not in common and name not in own
    ]
    settings, wrong_settings = _validated(AccountSettings, common, path)
    if common.get("client_key") and not common.get("client_cert"):
        faults.append(missing((*path, "client_cert")))
    options, wrong_options = _validated(provider.Options, own, path)
    if keyless and options is None:
        wrong_options = [
            fault
            for fault in wrong_options
            if not (fault.is_missing and fault.path[-1] in provider.credentials)
        ]
        options = NoKeys()
    if not provider.endpoint and "endpoint" not in fields:
        faults.append(missing((*path, "endpoint")))
    faults += wrong_settings + wrong_options
    if settings is None or options is None or faults:
        return None, faults
    endpoint = settings.endpoint or _default_endpoint(provider, own, options)
    return _account(path[1], settings, endpoint, options, provider), []


def _default_endpoint(provider: type[Provider], given: Mapping[str, object], options: BaseModel) -> str:
    """Return the provider's own endpoint; where its keys are absent, with the options as they are given."""
    defaults = {name: field.default for name, field in provider.Options.model_fields.items()}
    return check_endpoint(provider.endpoint.format_map({**defaults, **given, **dict(options)}))


def _validated(
    model: type[Model], values: Mapping[str, object], path: tuple[str, str]
) -> tuple[Model | None, list[Fault]]:
    try:
        return model.model_validate(values), []
    except ValidationError as error:
        return None, from_validation(error, model, path)


def _account(
    name: str, settings: AccountSettings, endpoint: str, options: BaseModel, provider: type[Provider]
) -> Account:
    return Account(
        name=name,
        provider=settings.provider,
        endpoint=endpoint,
        rate_limit=settings.rate_limit or provider.rate_limit,
        rate_group=settings.rate_group or _default_group(name, endpoint, options, provider),
        max_attempts=settings.max_attempts,
        max_age=settings.max_age or provider.deadline or DAY,
        options=options,
        max_in_flight=settings.max_in_flight,
        group_is_chosen=settings.rate_group is not None,
        unverified=settings.unverified or ("report" if provider.asks_for_unverified else "never"),
        route=_route(settings),
        proxy_is_chosen=settings.proxy is not None,
    )


def _route(settings: AccountSettings) -> Route:
    return Route(
        proxy=chosen_proxy(settings.proxy),
        ca_bundle=settings.ca_bundle,
        client_cert=settings.client_cert,
        client_key=settings.client_key,
        source_address=settings.source_address,
    )


def announced_account(name: str, fields: Mapping[str, str]) -> Account | None:
    """Return an account as its workers announce it, without keys; None if that is incomplete."""
    known = {field: value for field, value in fields.items() if field in AccountSettings.model_fields}
    group = known.pop("rate_group", "")
    if known.get("max_in_flight") == NO_LIMIT:
        del known["max_in_flight"]
    settings, _ = _validated(AccountSettings, known, ("accounts", name))
    if settings is None or settings.provider not in REGISTRY or not group or not _NAME.fullmatch(name):
        return None
    provider = REGISTRY[settings.provider]
    account = _account(name, settings, settings.endpoint or provider.endpoint, NoKeys(), provider)
    return replace(account, rate_group=group, group_is_chosen=True)


def provider_of(account: Account) -> Provider:
    """Return the account's provider with its keys."""
    return REGISTRY[account.provider](account.endpoint, account.options)


def key_hint(account: Account) -> str:
    """Return enough of the key id, which is not secret, to distinguish keys."""
    return shortened(provider_of(account).key_id)


def _default_group(name: str, endpoint: str, options: BaseModel, provider: type[Provider]) -> str:
    """Return provider, host and a digest of whose keys they are, which so is in no Redis key or log line."""
    owner = f"keys of {name}" if isinstance(options, NoKeys) else provider(endpoint, options).owner_id
    digest = hashlib.sha256(owner.encode()).hexdigest()[:12]
    return f"{provider.name}:{urlsplit(endpoint).netloc}:{digest}"


def _unequal_limits(accounts: Mapping[str, Account]) -> list[Fault]:
    return [
        Fault(
            ("accounts", second.name, setting),
            f"is {theirs or 'not set'}, but accounts.{first.name} of the same rate group has {ours or 'none'}",
            f"set both to the same number, or give {second.name} its own rate_group",
        )
        for first, second in combinations(accounts.values(), 2)
        if first.rate_group == second.rate_group
        for setting, ours, theirs in (
            ("rate_limit", first.rate_limit, second.rate_limit),
            ("max_in_flight", first.max_in_flight, second.max_in_flight),
        )
        if ours != theirs
    ]
