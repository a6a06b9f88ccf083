"""HMAC by hand, held against the standard library's."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from providers.hmac_key import HmacKey


@given(
    st.binary(max_size=200),
    st.lists(st.binary(max_size=300), min_size=1, max_size=3),
    st.sampled_from(["md5", "sha1", "sha256", "sha512"]),
)
def test_it_is_hmac(key: bytes, texts: list[bytes], method: str) -> None:
    """Keys of any length, shorter and longer than a block, sign any number of texts as the standard library does."""
    used = HmacKey(key, method)
    assert [used.sign(text) for text in texts] == [hmac.digest(key, text, method) for text in texts]
