"""What the answer to a probe proves of an account's keys.

A probe is a report that names no message, signed like any other: a provider that accepts the keys goes on to check the
message id, finds none, and refuses without recording anything. No provider documents the order of its checks. So one
answer alone proves nothing; two do: the same probe signed with other secrets must be refused for its keys.
"""

import enum
from dataclasses import dataclass

from providers.base import Outcome, Result


class Standing(enum.StrEnum):
    """What an answer proves about an account's keys."""

    ACCEPTED = "accepted"
    """The provider looked at the report itself."""
    REFUSED = "refused"
    """It refused the keys."""
    BARRED = "barred"
    """It knows the account, but won't take reports from it: permission, allow-list, arrears."""
    UNPROVED = "unproved"
    """The answer says nothing of the keys."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The standing of the keys, and the answer it follows from."""

    standing: Standing
    outcome: Outcome


def weigh(outcome: Outcome, key_faults: tuple[str, ...]) -> Proof:
    """Return what an answer proves; `key_faults` are the provider's."""
    return Proof(_standing(outcome, key_faults), outcome)


def _standing(outcome: Outcome, key_faults: tuple[str, ...]) -> Standing:
    match outcome.result:
        case Result.ACCOUNT:
            return Standing.REFUSED if _blames_the_keys(outcome.code.lower(), key_faults) else Standing.BARRED
        case Result.PERMANENT | Result.DOUBTFUL | Result.DELIVERED:
            return Standing.ACCEPTED
        case _:
            return Standing.UNPROVED


def _blames_the_keys(code: str, key_faults: tuple[str, ...]) -> bool:
    return any(code == fault if fault.isdigit() else code.startswith(fault) for fault in key_faults)
