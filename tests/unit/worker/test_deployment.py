"""What a worker tells of its accounts."""

import config
from config.account import announced_account
from tasks.fleet.deployment import Deployment, differences
from tests.unit.config.environment import GOOD
from worker.deployment import deployment_of


def of(**changes: str) -> Deployment:
    """Return the deployment of good settings with these changes of the account's."""
    own = {f"OTPREPORT_ACCOUNTS__TENCENT__{name}": value for name, value in changes.items()}
    return deployment_of(config.load(GOOD | own))


def test_what_differs_is_named() -> None:
    """Provider, endpoint, rate, group and key: each difference is told, the rest is no difference."""
    assert of().digest == of(MAX_ATTEMPTS="3").digest
    for changes, names in (
        ({"RATE_LIMIT": "7"}, ["rate_limit"]),
        ({"MAX_IN_FLIGHT": "7"}, ["max_in_flight"]),
        ({"RATE_GROUP": "mine"}, ["rate_group"]),
        ({"SECRET_ID": "AKIDANOTHEREXAMPLE0001"}, ["rate_group", "key"]),
    ):
        said = differences([of(), of(**changes)])["tencent"]
        assert [part.split()[0] for part in said.split(", ")] == names
    assert not differences([of(), of()])


def test_an_account_is_read_as_it_is_announced() -> None:
    """Who has no settings of its own has the limit of requests in flight that the workers have, or none."""
    for changes, limit in (({}, None), ({"MAX_IN_FLIGHT": "7"}, 7)):
        found = announced_account("tencent", of(**changes).accounts["tencent"])
        assert found is not None
        assert found.max_in_flight == limit


def test_no_key_is_told_in_full() -> None:
    """Its id is shortened, and two that look alike then are still two; the secret is in nothing."""
    one, other = "AKIDEXAMPLE111111111110001", "AKIDEXAMPLE222222222220001"
    told = b"".join(of(SECRET_ID=one).encode().values()).decode()
    assert one not in told
    assert GOOD["OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY"] not in told
    assert "key" in differences([of(SECRET_ID=one), of(SECRET_ID=other)])["tencent"]


def test_what_somebody_else_wrote_is_no_fault() -> None:
    """A value that can't be read says nothing."""
    found = Deployment.decode([b"a", b"\xff", b"\xff", b"[1]", b"b", b'{"provider": 1}'])
    assert found.accounts["b"] == {"provider": "1"}
    assert not found.accounts["a"]
