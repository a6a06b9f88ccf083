"""AWS End User Messaging SMS: `PutMessageFeedback`, 2022-03-31.

Sources: docs.aws.amazon.com/pinpoint/latest/apireference_smsvoicev2/API_PutMessageFeedback.html,
docs.aws.amazon.com/sms-voice/latest/userguide: message-feedback-change-status.html, quotas.html.
"""

from hashlib import sha256
from typing import ClassVar

from pydantic import BaseModel, Field
from pydantic_core import to_json

from otpreport import Verification
from providers import base
from providers.base import Answer, Outcome, Result, SignedRequest, Unverified, opened
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.masking import Mask
from providers.reply import Reply, json_object, judge, recorded, text
from providers.sigv4 import CREDENTIALS, KeyOptions, Region, SigV4, signing_date

CODES = CodeTable(
    {
        "recorded": Result.DELIVERED,
        "ThrottlingException": Result.THROTTLED,
        # What other services of AWS say of too many requests.
        "Throttling": Result.THROTTLED,
        "ThrottledException": Result.THROTTLED,
        "TooManyRequestsException": Result.THROTTLED,
        "RequestLimitExceeded": Result.THROTTLED,
        "RequestThrottled*": Result.THROTTLED,
        "SlowDown": Result.THROTTLED,
        "BandwidthLimitExceeded": Result.THROTTLED,
        "LimitExceededException": Result.THROTTLED,
        "ServiceUnavailable": Result.TRANSIENT,
        "ServiceUnavailableException": Result.TRANSIENT,
        "RequestTimeout": Result.TRANSIENT,
        "RequestTimeoutException": Result.TRANSIENT,
        "InternalServerException": Result.UNKNOWN,
        "InternalFailure": Result.UNKNOWN,
        "InternalError": Result.UNKNOWN,
        "SignatureExpired": Result.CLOCK,  # ours: AWS has one code for a wrong time and for a wrong key
        "RequestExpired": Result.CLOCK,
        "RequestTimeTooSkewed": Result.CLOCK,
        "RequestInTheFuture": Result.CLOCK,
        "InvalidSignatureException": Result.ACCOUNT,
        "SignatureDoesNotMatch": Result.ACCOUNT,
        "UnrecognizedClientException": Result.ACCOUNT,
        "InvalidClientTokenId": Result.ACCOUNT,
        "InvalidAccessKeyId": Result.ACCOUNT,
        "IncompleteSignature": Result.ACCOUNT,
        "MissingAuthenticationToken*": Result.ACCOUNT,
        "ExpiredToken*": Result.ACCOUNT,
        "AccessDeniedException": Result.ACCOUNT,
        "NotAuthorized": Result.ACCOUNT,
        "OptInRequired": Result.ACCOUNT,
        "UnknownOperationException": Result.ACCOUNT,  # from here: ours, wrong for every event
        "SerializationException": Result.ACCOUNT,
        "InvalidAction": Result.ACCOUNT,
        # A wrong id, another account's or region's, or perhaps a message that was sent without feedback.
        "ResourceNotFoundException": Result.DOUBTFUL,
        "ValidationException": Result.PERMANENT,
    }
)

_SIGNATURE_FAULTS = ("invalidsignatureexception", "signaturedoesnotmatch")
_WRONG_TIME = ("Signature expired:", "Signature not yet current:")
_STATUS = {True: "RECEIVED", False: "FAILED"}
_CONTENT_TYPE = ("content-type", "application/x-amz-json-1.0")
_TARGET = ("x-amz-target", "PinpointSMSVoiceV2.PutMessageFeedback")


class AwsOptions(KeyOptions):
    """Credentials of a user or role that may call `sms-voice:PutMessageFeedback`."""

    region: Region = Field(description="Region of the message's sender, such as eu-west-1.")


class Aws(base.Provider):
    """Report verified and unverified codes to AWS: `RECEIVED` and `FAILED`."""

    name: ClassVar[str] = "aws"
    endpoint: ClassVar[str] = "https://sms-voice.{region}.amazonaws.com"
    rate_limit: ClassVar[int] = 20
    unverified: ClassVar[Unverified] = "reported"
    asks_for_unverified: ClassVar[bool] = True
    Options: ClassVar[type[BaseModel]] = AwsOptions
    credentials: ClassVar[frozenset[str]] = CREDENTIALS
    key_faults: ClassVar[tuple[str, ...]] = (
        *_SIGNATURE_FAULTS,
        "unrecognizedclientexception",
        "invalidclienttokenid",
        "invalidaccesskeyid",
        "incompletesignature",
        "missingauthenticationtoken",
        "expiredtoken",
    )

    def __init__(self, endpoint: str, options: AwsOptions) -> None:
        where = Endpoint.parse(endpoint)
        key, token = opened(options.secret_access_key), opened(options.session_token)
        self._url, self._key_id = where.url, options.access_key_id
        self._signer = SigV4(options.access_key_id, key, options.region, "sms-voice")
        self._mask = Mask(key, token, key_id=options.access_key_id)
        self._host = ("host", where.host)
        self._after_date = (("x-amz-security-token", token), _TARGET) if token else (_TARGET,)

    @property
    def key_id(self) -> str:
        """Name the access key."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build the signed feedback on a message, which has no time."""
        status = _STATUS[event.verified]
        return self._request(to_json({"MessageId": event.message_id, "MessageFeedbackStatus": status}), now)

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Return what an answer means: it has to repeat the status that was sent."""
        return judge(answer, _read(answer, _STATUS[event.verified]), CODES, self._mask)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a signed feedback without the two required members."""
        return self._request(b"{}", now)

    def probed(self, answer: Answer) -> Outcome:
        """Return what the answer to a probe means."""
        return judge(answer, _read(answer, ""), CODES, self._mask)

    def _request(self, body: bytes, now: float) -> SignedRequest:
        date = signing_date(int(now))
        signed = (_CONTENT_TYPE, self._host, ("x-amz-date", date), *self._after_date)
        authorization = self._signer.authorization(date, signed, sha256(body).hexdigest())
        return SignedRequest(self._url, (*signed[:1], *signed[2:], ("authorization", authorization)), body)


def _read(answer: Answer, status: str) -> Reply | None:
    """Find the error's type, else the status that was sent."""
    whole = json_object(answer.body)
    if whole is None:
        return None
    request_id = answer.headers.get("x-amzn-requestid", "")
    if whole.get("__type") is None:
        repeats = bool(status) and text(whole, "MessageFeedbackStatus") == status
        return recorded(answer, request_id) if repeats else None
    # Namespace and "#" may stand before the code, ":" and an address after it.
    code = text(whole, "__type").rpartition("#")[2].partition(":")[0]
    message = text(whole, "message") or text(whole, "Message")
    if code.lower() in _SIGNATURE_FAULTS and message.startswith(_WRONG_TIME):
        code = "SignatureExpired"
    return Reply(code, message, request_id, final=False) if code else None
