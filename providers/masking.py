"""Text from outside, made fit for logs and dead letters."""

from urllib.parse import quote

_STARS = "***"


class Mask:
    """Blot out one provider's own secrets in text that a server sent.

    A server may quote what it was sent: Alibaba's `SignatureDoesNotMatch` carries the canonical request, and
    with it the session token. A secret is found as it is and as it stands in a URL.
    """

    __slots__ = ("_secrets",)

    def __init__(self, *secrets: str) -> None:
        given = {secret for secret in secrets if secret}
        self._secrets = tuple(
            sorted(given | {quote(secret, safe="") for secret in given}, key=len, reverse=True)
        )

    def __call__(self, text: str, limit: int) -> str:
        """Return `text` without secrets and control characters, cut to `limit` characters.

        The cut comes last, so that it can't leave the first half of a secret behind.
        """
        for secret in self._secrets:
            text = text.replace(secret, _STARS)
        text = text[:limit]
        return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
