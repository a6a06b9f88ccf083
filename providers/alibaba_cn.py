"""Alibaba Cloud SMS, China site, messages abroad: `SmsConversionIntl`, version 2017-05-25.

It shares signature, parameters and list of codes with the international site (`providers/alibaba.py`);
the two are alternatives, one per account. Source: help.aliyun.com (api-dysmsapi-2017-05-25-smsconversionintl).
"""

from typing import ClassVar

from providers.alibaba import Alibaba, reply
from providers.reply import Reply, json_object


class AlibabaCn(Alibaba):
    """Report to an account of Alibaba Cloud's China site."""

    name: ClassVar[str] = "alibaba_cn"
    endpoint: ClassVar[str] = "https://dysmsapi.aliyuncs.com"
    action: ClassVar[str] = "SmsConversionIntl"
    version: ClassVar[str] = "2017-05-25"

    def _read(self, body: bytes) -> Reply | None:
        """Read `Code`, which is the gateway's and the report's alike: its value decides."""
        whole = json_object(body)
        return None if whole is None else reply(whole, "Code", "Message", final=True)
