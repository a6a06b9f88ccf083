"""Live through a day of some minutes and write docs/dashboard/*.svg."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.dashboard.day import day

TARGET = Path(__file__).parents[2] / "docs" / "dashboard"


def picture_of(title: str) -> Path:
    """Return where the picture of a row is."""
    return TARGET / f"{title.lower().replace('?', '').replace(' ', '-')}.svg"


def _say(sentence: str) -> None:
    print(datetime.now(UTC).strftime("%H:%M:%S"), sentence, file=sys.stderr)


def main() -> None:
    """Run, then draw."""
    with tempfile.TemporaryDirectory(prefix="dashboard-") as folder, day(Path(folder), _say) as page:
        for title, picture in page.rows():
            picture_of(title).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
