"""BytePlus SMS: `Conversion`, version 2020-01-01, which is Volcengine's at another host.

Source: github.com/byteplus-sdk/byteplus-sdk-python. BytePlus' public pages describe sending only. Its SDK signs its
body and then sends it encoded once more as JSON, so the signature is not that of what is sent: ours is.
"""

from typing import ClassVar

from providers.volcengine import Volcengine


class Byteplus(Volcengine):
    """Report verified codes to BytePlus; it has no way to report the others."""

    name: ClassVar[str] = "byteplus"
    endpoint: ClassVar[str] = "https://sms.byteplusapi.com"
    region: ClassVar[str] = "ap-singapore-1"
