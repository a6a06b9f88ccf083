"""Text from outside, made fit for logs and dead letters."""

import math
import re
from urllib.parse import quote

_STARS = "***"


def shortened(key_id: str) -> str:
    """Return enough of a key's id to distinguish keys."""
    return f"{key_id[:4]}...{key_id[-4:]}" if len(key_id) > 12 else "********"


class Mask:
    """Mask one provider's secrets, and shorten its key's id, in text that a server sent.

    A server may quote what it was sent: Alibaba's `SignatureDoesNotMatch` carries the canonical request, and
    with it the session token. A secret is found both as it is and URL-encoded.
    """

    __slots__ = ("_masked", "_shortest")

    def __init__(self, *secrets: str, key_id: str = "") -> None:
        shown = {key_id: shortened(key_id)} | dict.fromkeys(secrets, _STARS)
        masked = {form: mask for given, mask in shown.items() if given for form in _forms(given)}
        self._masked = sorted(masked.items(), key=lambda item: len(item[0]), reverse=True)
        self._shortest = len(self._masked[-1][0]) if self._masked else math.inf

    def __call__(self, text: str, limit: int) -> str:
        """Return `text` masked, without control characters, cut to `limit` characters.

        The cut comes last, so that it can't leave the first half of a secret behind.
        """
        if len(text) >= self._shortest:
            for given, mask in self._masked:
                text = text.replace(given, mask)
        text = text[:limit]
        return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _forms(given: str) -> set[str]:
    """Return a text as it is, and percent-encoded in capitals and in small letters."""
    encoded = quote(given, safe="")
    return {given, encoded, re.sub("%..", lambda escape: escape[0].lower(), encoded)}
