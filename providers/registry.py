"""Every provider by its name."""

from providers.alibaba import Alibaba
from providers.alibaba_cn import AlibabaCn
from providers.aws import Aws
from providers.base import Provider
from providers.bird import Bird
from providers.byteplus import Byteplus
from providers.eight_by_eight import EightByEight
from providers.infobip import Infobip
from providers.messagebird import MessageBird
from providers.plivo import Plivo
from providers.sinch import Sinch
from providers.telesign import Telesign
from providers.tencent import Tencent
from providers.twilio import Twilio
from providers.twilio_verify import TwilioVerify
from providers.volcengine import Volcengine
from providers.vonage import Vonage

REGISTRY: dict[str, type[Provider]] = {
    provider.name: provider
    for provider in (
        Alibaba,
        AlibabaCn,
        Aws,
        Bird,
        Byteplus,
        MessageBird,
        EightByEight,
        Telesign,
        Infobip,
        Plivo,
        Sinch,
        Tencent,
        Twilio,
        TwilioVerify,
        Volcengine,
        Vonage,
    )
}
