"""What the simulator is started with: the keys it knows and the first plan."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import orjson
from pydantic import ConfigDict, Field, TypeAdapter

from simulator.limits import LIMITS, ProviderName
from simulator.plan import Plan, Rate
from simulator.validation import InvalidSettingsError, validate

EXAMPLE = Path(__file__).with_name("example.toml")

_CLOSED = ConfigDict(extra="forbid")
_Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair of one main account; with `token` it is a temporary one and useless without it."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    provider: ProviderName
    id: _Text
    secret: _Text = field(repr=False)
    token: str = field(default="", repr=False)
    account: str = ""  # the account, where the key has an id of its own: of a Twilio API key, its AccountSid
    apps: tuple[
        str, ...
    ] = ()  # the account's SmsSdkAppIds at Tencent, services at Twilio Verify, channels at Bird
    regions: tuple[str, ...] = ("ap-singapore",)  # Tencent: accepted X-TC-Region
    rate: Rate | None = None  # requests/s; the documented one where it is left out
    in_flight: Rate | None = (
        None  # requests open at a time, beyond which it is throttled; no limit if left out
    )
    denied: bool = False  # it may not call this API: its user lacks the permission

    def __post_init__(self) -> None:
        """Refuse a key that no call could use."""
        if self.provider in {"bird", "tencent", "twilio_verify"} and not self.apps:
            raise ValueError(f"a {self.provider} key needs at least one id in apps")

    @property
    def limit(self) -> int:
        """The requests per second this key may send."""
        return self.rate or LIMITS[self.provider]


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files that make the server speak TLS."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    certificate: _Text
    private_key: _Text


@dataclass(frozen=True, slots=True)
class Settings:
    """The keys the cloud knows, its first plan, and TLS where wanted."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    keys: tuple[Key, ...]
    plan: Plan = field(default_factory=Plan)
    tls: Tls | None = None

    def __post_init__(self) -> None:
        """Refuse no keys, two of one name, and rates of keys that do not exist."""
        if not self.keys:
            raise ValueError("keys is empty: nobody could call")
        names = [(key.provider, key.id) for key in self.keys]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the {name[0]} key {name[1]!r} is there twice")
        unknown_rates(self.plan, self.keys)


def unknown_rates(plan: Plan, keys: tuple[Key, ...]) -> None:
    """Raise ValueError when the plan sets the rate of a key that does not exist."""
    for name in plan.rates:
        if name not in {key.id for key in keys}:
            raise ValueError(f"plan.rates names a key that does not exist: {name!r}")


_SETTINGS = TypeAdapter(Settings)


def parse(data: object) -> Settings:
    """Return the settings in `data` (decoded TOML or JSON); InvalidSettingsError, a line for each fault."""
    return validate(_SETTINGS, data)


def load(path: Path) -> Settings:
    """Read settings from a TOML file, or from JSON where the name ends so."""
    try:
        raw = path.read_bytes()
        data: object = orjson.loads(raw) if path.suffix == ".json" else tomllib.loads(raw.decode())
    except OSError as error:
        raise InvalidSettingsError((f"{path} cannot be read: {error.strerror}",)) from None
    except ValueError as error:  # JSON, TOML and UTF-8 errors alike
        raise InvalidSettingsError((f"{path} is neither TOML nor JSON: {error}",)) from None
    if not raw.strip():
        raise InvalidSettingsError((f"{path} is empty: leave it out to use the built-in test keys",))
    try:
        return parse(data)
    except InvalidSettingsError as error:
        raise InvalidSettingsError(tuple(f"{path}: {fault}" for fault in error.faults)) from None
