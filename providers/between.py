"""The marks of whoever answers in a provider's place: a firewall, a portal, a proxy, a cache.

Where success has no code of the provider's, as an empty 202, such an answer must not be taken for it. AWS WAF's
challenge is one: 202, no body, `x-amzn-waf-action: challenge`.

Documented: docs.aws.amazon.com/waf/latest/developerguide/waf-captcha-and-challenge-actions.html (202 and 405, a body
only for who accepts HTML), developers.cloudflare.com/cloudflare-challenges/challenge-types/challenge-pages (always
text/html), RFC 9110 (`proxy-authenticate`), RFC 9111 (`age`), RFC 9209 (`proxy-status`). The others are not; they
were seen in answers that people published, those of `Server` in what balancers and proxies wrote themselves: an empty
redirect of a BigIP, AWS' balancer beside `x-amzn-waf-action`, Zscaler's 403.
"""

from collections.abc import Mapping

MARKS = frozenset(
    {
        "cf-mitigated",  # Cloudflare: a challenge in place of the answer
        "proxy-authenticate",  # a proxy wants to know who asks
        "refresh",  # a page that leads to another one
        "x-amzn-waf-action",  # AWS WAF: challenge or captcha
        "x-dd-b",  # DataDome: blocked
        "x-kpsdk-ct",  # Kasada: a challenge
        "x-squid-error",  # Squid: its own page
        "x-vercel-mitigated",  # Vercel: challenge or deny
    }
)
"""Headers that stand in an answer only where somebody in between wrote it."""

OWN_ANSWERS = ("akamaighost", "awselb", "bigip", "big-ip", "squid", "zscaler")
"""Beginnings of `Server` in what a balancer or a proxy answers by itself; in what it passes on stands the origin's."""

_PAGES = ("text/html", "application/xhtml")


def in_between(headers: Mapping[str, str]) -> bool:
    """Say whether an answer bears the mark of somebody in between."""
    return (
        not MARKS.isdisjoint(headers)
        or headers.get("content-type", "").lstrip().lower().startswith(_PAGES)
        or headers.get("server", "").lower().startswith(OWN_ANSWERS)
        or headers.get("age", "0").strip() != "0"
        or "error=" in headers.get("proxy-status", "").lower()
    )
