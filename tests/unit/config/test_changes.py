from collections.abc import Mapping

import pytest

import config
from config.changes import Changes, compare
from tests.unit.config.environment import GOOD, account

ONE = "OTPREPORT_ACCOUNTS__TENCENT__"
ALIBABA = {
    "OTPREPORT_ACCOUNTS__ALI__PROVIDER": "alibaba",
    "OTPREPORT_ACCOUNTS__ALI__ACCESS_KEY_ID": "LTAIexample",
    "OTPREPORT_ACCOUNTS__ALI__ACCESS_KEY_SECRET": "secret",
}
BEFORE = GOOD | ALIBABA


def changes(after: Mapping[str, str], before: Mapping[str, str] = BEFORE) -> Changes:
    """Return what changed from one environment to the other."""
    return compare(config.load(before), config.load(after))


def renewed(after: Mapping[str, str], before: Mapping[str, str] = BEFORE) -> dict[str, dict[str, str]]:
    """Return the text of the options of each account with new keys, secrets in clear."""
    return {
        name: {field: text(getattr(found.options, field)) for field in type(found.options).model_fields}
        for name, found in changes(after, before).renewed.items()
    }


def text(value: object) -> str:
    """Return an option's text."""
    return str(getattr(value, "get_secret_value", lambda: value)())


def test_the_same_settings_change_nothing() -> None:
    """Read again, nothing is new."""
    assert changes(BEFORE) == Changes({}, ())


@pytest.mark.parametrize(
    "new",
    [
        {"SECRET_KEY": "new-secret"},
        {"SECRET_ID": "AKIDnew"},
        {"SECRET_ID": "AKIDnew", "SECRET_KEY": "new-secret", "SECURITY_TOKEN": "token"},
    ],
)
def test_new_keys_are_taken(new: dict[str, str]) -> None:
    """Id, secret and token may change live, each alone and all at once, for the account that has them."""
    found = renewed(BEFORE | {ONE + name: value for name, value in new.items()})
    assert found.keys() == {"tencent"}
    assert found["tencent"].items() >= {name.lower(): value for name, value in new.items()}.items()
    assert found["tencent"]["sdk_app_id"] == "1400000001"


def test_a_token_that_is_gone_is_a_change() -> None:
    """From temporary credentials to lasting ones."""
    before = BEFORE | {f"{ONE}SECURITY_TOKEN": "token"}
    assert renewed(BEFORE, before)["tencent"]["security_token"] == "None"


@pytest.mark.parametrize(
    ("new", "names"),
    [
        ({"OTPREPORT_RETRY_BASE": "2"}, ("retry_base",)),
        ({"OTPREPORT_REDIS_URL": "redis://elsewhere"}, ("redis_url",)),
        ({f"{ONE}RATE_LIMIT": "7"}, ("accounts.tencent.rate_limit",)),
        ({f"{ONE}MAX_IN_FLIGHT": "7"}, ("accounts.tencent.max_in_flight",)),
        ({f"{ONE}UNVERIFIED": "report"}, ("accounts.tencent.unverified",)),
        ({f"{ONE}MAX_AGE": "60"}, ("accounts.tencent.max_age",)),
        ({f"{ONE}MAX_ATTEMPTS": "3"}, ("accounts.tencent.max_attempts",)),
        ({f"{ONE}RATE_GROUP": "mine"}, ("accounts.tencent.rate_group",)),
        ({f"{ONE}ENDPOINT": "https://sms.example"}, ("accounts.tencent.endpoint",)),
        ({f"{ONE}SDK_APP_ID": "14"}, ("accounts.tencent.sdk_app_id",)),
        ({f"{ONE}REGION": "ap-tokyo"}, ("accounts.tencent.region",)),
        (account("TWO"), ("accounts.two",)),
    ],
)
def test_anything_else_needs_a_restart(new: dict[str, str], names: tuple[str, ...]) -> None:
    """A setting that is no credential is named, in either direction, and nothing is taken."""
    assert changes(BEFORE | new) == Changes({}, names)
    assert changes(BEFORE, BEFORE | new) == Changes({}, names)


def test_conditions_wait_while_keys_do_not() -> None:
    """A changed limit is no reason to keep old keys."""
    found = changes(BEFORE | {f"{ONE}SECRET_KEY": "new", f"{ONE}RATE_LIMIT": "7"})
    assert found.restart == ("accounts.tencent.rate_limit",)
    assert found.renewed["tencent"].rate_limit == 1000


@pytest.mark.parametrize("other", [{"ENDPOINT": "https://sms.example"}, {"SDK_APP_ID": "14"}])
def test_keys_that_belong_to_something_new_wait_with_it(other: dict[str, str]) -> None:
    """With another app id or endpoint the keys are probably another account's: the old place would refuse them."""
    new = {"SECRET_ID": "AKIDnew"} | other
    found = changes(BEFORE | {ONE + name: value for name, value in new.items()})
    assert not found.renewed
    assert len(found.restart) == 1


def test_another_provider_under_the_same_name() -> None:
    """What was Tencent's and is now Alibaba's has nothing in common but its name."""
    other = {name.replace("__ALI__", "__TENCENT__"): value for name, value in ALIBABA.items()}
    base = {name: value for name, value in BEFORE.items() if ONE not in name}
    found = changes(base | other)
    assert not found.renewed
    assert found.restart == (
        "accounts.tencent.provider",
        "accounts.tencent.endpoint",
        "accounts.tencent.rate_limit",
    )


def test_the_default_group_follows_its_key_without_a_word() -> None:
    """A new key id gives another default group, which the worker keeps to itself until it starts anew."""
    found = changes(BEFORE | {f"{ONE}SECRET_ID": "AKIDnew"})
    assert found.restart == ()
    assert found.renewed["tencent"].rate_group == config.load(BEFORE).accounts["tencent"].rate_group
