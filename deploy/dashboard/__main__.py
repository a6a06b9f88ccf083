"""Write deploy/grafana/dashboards/otpreport.json."""

import json
from pathlib import Path

from deploy.dashboard.board import dashboard

TARGET = Path(__file__).parents[1] / "grafana" / "dashboards" / "otpreport.json"


def text() -> str:
    """Return the file's text."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
