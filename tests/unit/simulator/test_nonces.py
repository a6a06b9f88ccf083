"""Nonces that were seen."""

from simulator.nonces import Nonces


def test_a_nonce_is_good_once_for_each_key() -> None:
    """The same nonce is refused to the same key, and only to that."""
    nonces = Nonces(900)
    assert nonces.use("a", b"n", 1000.0)
    assert not nonces.use("a", b"n", 1001.0)
    assert nonces.use("b", b"n", 1001.0)
    assert nonces.use("a", b"m", 1001.0)


def test_a_nonce_is_remembered_for_a_lifetime_and_forgotten_after_two() -> None:
    """A nonce is refused for at least its lifetime, and memory does not grow for ever."""
    nonces = Nonces(900)
    assert nonces.use("a", b"turn", 0.0)
    assert nonces.use("a", b"n", 899.0)
    assert nonces.use("a", b"turn-2", 901.0)
    assert not nonces.use("a", b"n", 1799.0)
    assert nonces.use("a", b"turn-3", 1802.0)
    assert nonces.use("a", b"turn-4", 2703.0)
    assert nonces.use("a", b"n", 2704.0)
