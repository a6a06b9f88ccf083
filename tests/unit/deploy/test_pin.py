"""Images are pinned by digest, all of them or none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.pin import FILES, IMAGE, NotToldError, pinned

ROOT = Path(__file__).parents[3]
TEXTS = {name: (ROOT / name).read_text() for name in FILES}


def digest(image: str) -> str:
    """Return a digest for a tag."""
    return f"sha256:{image.encode().hex():0<64.64}"


def test_every_image_of_others_is_pinned_and_nothing_else_changes() -> None:
    """Each image with a tag gets its digest, whichever it had before; ours, which is built here, gets none."""
    once = pinned(TEXTS, digest)
    found = {image[2] for text in once.values() for image in IMAGE.finditer(text)}
    names = {image.partition(":")[0] for image in found}
    assert names == {"python", "redis", "prom/prometheus", "prom/alertmanager", "grafana/grafana"}
    for name, text in once.items():
        unpinned = text
        for image in found:
            unpinned = unpinned.replace(f"{image}@{digest(image)}", image)
        assert unpinned == IMAGE.sub(r"\1\2", TEXTS[name])
    assert "image: otpreport\n" in once["docker-compose.yml"]
    assert pinned(once, digest) == once
    anew = pinned(once, lambda image: digest(f"new {image}"))
    assert digest("redis:7.2-bookworm") not in anew["docker-compose.yml"]


def test_one_that_nobody_tells_keeps_all_as_they_were() -> None:
    """Half of the images pinned to today and half to some day would be worse than none."""

    def ask(image: str) -> str:
        if image.startswith("redis"):
            raise NotToldError(image)
        return digest(image)

    with pytest.raises(NotToldError, match="redis"):
        pinned(TEXTS, ask)


@pytest.mark.parametrize(
    ("docker", "said"),
    [
        ("echo 'no route to host' >&2; echo 'see --help' >&2; exit 1", ": no route to host"),
        ('echo \'{"digest": "latest"}\'', "is no digest"),
        ("echo '[]'", "docker told no digest"),
        (None, "docker"),
    ],
)
def test_without_a_registry_nothing_changes(tmp_path: Path, docker: str | None, said: str) -> None:
    """One line says why, the status is 1, and every file is as it was."""
    ended, after = run(tmp_path, docker)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
    assert ended.stderr.startswith("nothing was pinned: ")
    assert said in ended.stderr
    assert after == TEXTS


def test_docker_is_asked(tmp_path: Path) -> None:
    """What docker tells of each image stands in the files."""
    told = f"sha256:{'ab' * 32}"
    ended, after = run(tmp_path, f'echo \'{{"digest": "{told}"}}\'')
    assert (ended.returncode, ended.stderr) == (0, "")
    assert after == pinned(TEXTS, lambda _: told)


def run(folder: Path, docker: str | None) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Pin a copy of the files with a docker that is a few words of shell; return how it ended and the files."""
    copy, programs = folder / "copy", folder / "bin"
    programs.mkdir()
    (copy / "deploy").mkdir(parents=True)
    for name in (*FILES, "deploy/pin.py", "deploy/__init__.py"):
        shutil.copy(ROOT / name, copy / name)
    if docker is not None:
        program = programs / "docker"
        program.write_text(f"#!/bin/sh\n{docker}\n")
        program.chmod(0o755)
    command = [sys.executable, "-m", "deploy.pin"]
    env = os.environ | {"PATH": str(programs)}
    ended = subprocess.run(
        command, cwd=copy, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    return ended, {name: (copy / name).read_text() for name in FILES}
