"""The accounts that benchmarks report for: made up, a key each, all at Tencent, which takes most a second."""

from __future__ import annotations

import json
from dataclasses import dataclass

SECRET = "EXAMPLE+s3cr3t/that+must/show+nowhere"
APP = "1400006666"
UNLIMITED = 100_000
"""The greatest RATE_LIMIT there is."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account and its RATE_LIMIT; the simulator itself lets any rate pass."""

    name: str = "tencent"
    rate: int = 1000

    @property
    def key(self) -> str:
        """The id of its API key."""
        return f"AKIDEXAMPLE{self.name}"

    def simulated(self) -> dict[str, object]:
        """Return the key in the simulator's settings format."""
        return {"provider": "tencent", "id": self.key, "secret": SECRET, "apps": [APP], "rate": 1_000_000}

    def configured(self, endpoint: str) -> str:
        """Return its table of the worker's settings file."""
        fields = {
            "provider": "tencent",
            "endpoint": endpoint,
            "secret_id": self.key,
            "secret_key": SECRET,
            "sdk_app_id": APP,
            "rate_limit": self.rate,
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
        return "\n".join([f"[accounts.{self.name}]", *lines, ""])
