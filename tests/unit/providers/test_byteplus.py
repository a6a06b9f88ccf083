"""BytePlus: Volcengine's call in another cloud."""

import pytest

from tests.support.provider_samples import NONCE, NOW, SAMPLES, event


def test_it_is_signed_for_its_own_region_and_host() -> None:
    """The same call of the same key is another cloud's."""
    (authorization, url), (other, elsewhere) = (
        (dict(request.headers)["authorization"], request.url)
        for request in (
            SAMPLES[name].provider().request(event(), now=NOW, nonce=NONCE)
            for name in ("byteplus", "volcengine")
        )
    )
    assert "/ap-singapore-1/volcSMS/request" in authorization
    assert "/cn-north-1/volcSMS/request" in other
    assert url == elsewhere.replace("sms.volcengineapi.com", "sms.byteplusapi.com")


def test_its_errors_name_it() -> None:
    """The error of an event that can't be reported does not speak of the other cloud."""
    with pytest.raises(ValueError, match="byteplus can't report"):
        SAMPLES["byteplus"].provider().request(event(verified=False), now=NOW, nonce=NONCE)
