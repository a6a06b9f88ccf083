"""Telesign: the completion of an SMS Verify transaction, for codes of your own.

Sources: developer.telesign.com (SMS Verify API, "Report completion"; Authentication),
github.com/api-evangelist/telesign (openapi/telesign-completions-api-openapi.yml).
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from otpreport import Verification
from providers import base
from providers.base import Answer, Outcome, Result, Secret, SignedRequest, Unverified, Visible
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.hmac_key import HmacKey
from providers.masking import Mask
from providers.reply import Reply, bare, code, first, json_object, judge, member, text

CODES = CodeTable(
    {
        "1900": Result.DELIVERED,
        "429": Result.THROTTLED,  # no code is documented
        "-90001": Result.TRANSIENT,
        "-30010": Result.CLOCK,
        # "X-TS-Nonce has been used recently": each is new, so an earlier copy of this request has arrived.
        "-30012": Result.UNKNOWN,
        "-3000*": Result.ACCOUNT,
        "-30011": Result.ACCOUNT,
        # "Invalid ReferenceID": though among the codes of the keys, it is about this event.
        "-30013": Result.DOUBTFUL,
        # One code for two things: not found with a 404, an invalid parameter with a 400.
        "-10001": Result.DOUBTFUL,
        "-10001/400": Result.PERMANENT,
    }
)

_FORM = "application/x-www-form-urlencoded"
_PATH = "/v1/verify/completion/"


def _decodable(value: SecretStr) -> SecretStr:
    try:
        b64decode(value.get_secret_value(), validate=True)
    except ValueError:
        raise ValueError("is not Base64, as Telesign's API keys are") from None
    return value


class TelesignOptions(base.Options):
    """Credentials of a Telesign account."""

    customer_id: Visible = Field(description="The account's customer id.")
    api_key: Annotated[Secret, AfterValidator(_decodable)] = Field(description="Its API key, in Base64.")
    auth_method: Annotated[Literal["HMAC-SHA256", "Basic"], base.Stripped] = Field(
        default="HMAC-SHA256", description="`Basic` sends the API key itself, in place of a signature."
    )


class Telesign(base.Provider):
    """Report verified codes to Telesign; it has no word for others."""

    name: ClassVar[str] = "telesign"
    endpoint: ClassVar[str] = "https://rest-ww.telesign.com"
    rate_limit: ClassVar[int] = 10
    documents_rate: ClassVar[bool] = False
    unverified: ClassVar[Unverified] = "unsayable"
    has_nonce: ClassVar[bool] = True
    Options: ClassVar[type[BaseModel]] = TelesignOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"customer_id", "api_key"})
    key_faults: ClassVar[tuple[str, ...]] = (
        *("-30000", "-30004", "-30005", "-30006"),
        *("-30007", "-30008", "-30009", "-30011"),
    )

    def __init__(self, endpoint: str, options: TelesignOptions) -> None:
        key = options.api_key.get_secret_value()
        self._root, self._key_id = Endpoint.parse(endpoint).url.removesuffix("/"), options.customer_id
        self._key, self._method = HmacKey(b64decode(key)), options.auth_method
        self._basic = base.basic(self._key_id, key)
        self._mask = Mask(key, self._basic.removeprefix("Basic "), key_id=self._key_id)

    @property
    def key_id(self) -> str:
        """Name the customer."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build the completion of a transaction, which has neither a body nor a time."""
        if not event.verified:
            raise ValueError("Telesign has no way to report verified=false")
        return self._request(base.segment(event.message_id), int(now), nonce)

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Say what an answer means, which is the same for every event."""
        return self.probed(answer)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build the completion of a transaction that does not exist."""
        return self._request("0" * 32, int(now), nonce)

    def probed(self, answer: Answer) -> Outcome:
        """Say what the answer to a probe means."""
        return judge(answer, _read(answer), CODES, self._mask)

    def _request(self, reference: str, second: int, nonce: str) -> SignedRequest:
        date, path = _written(second), _PATH + reference
        headers = (
            ("authorization", self._authorization(date, nonce, path)),
            ("date", date),
            ("content-type", _FORM),
            ("x-ts-auth-method", self._method),
            ("x-ts-nonce", nonce),
        )
        return SignedRequest(self._root + path, headers, b"", "PUT")

    def _authorization(self, date: str, nonce: str, path: str) -> str:
        if self._method == "Basic":
            return self._basic
        signed = f"PUT\n{_FORM}\n{date}\nx-ts-auth-method:{self._method}\nx-ts-nonce:{nonce}\n{path}"
        signature = self._key.sign(signed.encode())
        return f"TSA {self._key_id}:{b64encode(signature).decode()}"


@lru_cache(maxsize=8)
def _written(second: int) -> str:
    return formatdate(second, usegmt=True)


def _read(answer: Answer) -> Reply | None:
    """Find the first of the errors, of which there may also be only one; else the status of the report."""
    whole = json_object(answer.body)
    if whole is None:
        return bare(answer, CODES)
    if whole.get("errors") or whole.get("error"):
        return _reply(answer, first(whole, "errors") or member(whole, "error"), final=False)
    return _reply(answer, whole if "code" in whole else member(whole, "status"), final="code" not in whole)


def _reply(answer: Answer, status: Mapping[str, object] | None, *, final: bool) -> Reply | None:
    if status is None or not (found := code(status, "code")):
        return None
    exact = f"{found}/{answer.status}"
    return Reply(exact if exact in CODES.rows else found, text(status, "description"), "", final)
