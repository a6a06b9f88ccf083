"""Pin the images that the Dockerfile and the compose files name, each by the digest that its tag has today."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ("Dockerfile", "docker-compose.yml", "docker-compose.demo.yml")

IMAGE = re.compile(
    r"^( *(?:FROM|image:) )((?:[\w.-]+(?::\d+)?/)*[\w.-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?(?=\s|$)",
    re.MULTILINE,
)
"""An image with a tag, pinned before or not; our own, which is built here, has none."""


class NotToldError(Exception):
    """Nobody could say which digest a tag has; the text says why."""


def digest_of(image: str) -> str:
    """Ask the image's registry, with docker's own settings for it, mirrors and passwords; nothing is pulled."""
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{json .Manifest}}"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotToldError(f"{error}") from error
    try:
        digest = str(json.loads(ended.stdout)["digest"])
    except (ValueError, KeyError, TypeError):
        said = ended.stderr.strip().splitlines() or ["docker told no digest"]
        raise NotToldError(f"{image}: {said[0]}") from None
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise NotToldError(f"{image}: docker told {digest[:80]!r}, which is no digest")
    return digest


def pinned(texts: dict[str, str], ask: Callable[[str], str]) -> dict[str, str]:
    """Return the files' texts with every image pinned; NotToldError where one can't be, so that all are or none."""
    images = sorted({found[2] for text in texts.values() for found in IMAGE.finditer(text)})
    digests = {image: ask(image) for image in images}
    return {
        name: IMAGE.sub(lambda found: f"{found[1]}{found[2]}@{digests[found[2]]}", text)
        for name, text in texts.items()
    }


def main(root: Path = ROOT) -> int:
    """Pin them all; 1 and a line where that can't be, and then no file was changed."""
    texts = {name: (root / name).read_text(encoding="utf-8") for name in FILES}
    try:
        changed = pinned(texts, digest_of)
    except NotToldError as error:
        print(f"nothing was pinned: {error}", file=sys.stderr)
        return 1
    for name, text in changed.items():
        (root / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
