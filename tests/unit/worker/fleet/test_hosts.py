import pytest

from worker.fleet.hosts import is_ours

ALLOWED = frozenset({"status.example.com"})


@pytest.mark.parametrize(
    "header",
    [
        "127.0.0.1:9807",
        "10.1.2.3",
        "[::1]:9807",
        "[fe80::1]",
        "localhost:9807",
        "LOCALHOST",
        "exporter:9807",
        "status.example.com",
        "Status.Example.COM.:443",
    ],
)
def test_names_that_no_stranger_owns_are_served(header: str) -> None:
    """Addresses, names without a dot, and those of ALLOWED_HOSTS, with any port and in any case."""
    assert is_ours(header, ALLOWED)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "rebound.example.net:9807",
        "example.com",
        "evil.status.example.com",
        "127.0.0.1.example.net",
        "localhost.example.net",
        "[::1].example.net",
        "localhost:9807:1",
        "a b",
    ],
)
def test_a_name_that_may_point_anywhere_is_not(header: str) -> None:
    """A page of elsewhere that let its own name point here is refused, and so is a request that names nothing."""
    assert not is_ours(header, ALLOWED)
