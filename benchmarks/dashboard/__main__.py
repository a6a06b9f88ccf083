"""Live through a day of some minutes and write docs/dashboard/*.svg; `conversion` computes that row alone."""

import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.dashboard.day import day
from benchmarks.dashboard.otps import otps
from benchmarks.dashboard.page import Page

TARGET = Path(__file__).parents[2] / "docs" / "dashboard"


def picture_of(title: str) -> Path:
    """Return where the picture of a row is."""
    return TARGET / f"{title.lower().replace('?', '').replace(' ', '-')}.svg"


def _say(sentence: str) -> None:
    print(datetime.now(UTC).strftime("%H:%M:%S"), sentence, file=sys.stderr)


COMPUTED = "Conversion"
"""The row whose picture shows half a day."""


def main() -> None:
    """Run, then draw."""
    with tempfile.TemporaryDirectory(prefix="dashboard-") as folder:
        with otps(Path(folder)) as page:
            _draw(page, lambda title: title == COMPUTED)
        if COMPUTED.lower() not in sys.argv:
            with day(Path(folder) / "day", _say) as page:
                _draw(page, lambda title: title != COMPUTED)


def _draw(page: Page, wanted: Callable[[str], bool]) -> None:
    for title, picture in page.rows(wanted):
        picture_of(title).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
