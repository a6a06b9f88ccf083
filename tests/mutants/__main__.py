"""Switch each protection off in a copy of the tree, and see the test fail that is to hold it.

`python -m tests.mutants [PART OF A NAME ...]`; exit status 1 when one survived.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, Mutant
from tests.support.worker_process import ROOT

LONGEST = 300.0
"""Seconds after which a test that hangs has failed."""

FAILED = 1
"""pytest's exit status when a test failed; others say that none was run."""


def main(names: Sequence[str]) -> int:
    """Try the mutants whose names hold one of `names`, all if there is none; say of each what became of it."""
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _copy_tree(copy)
        tests = sorted({mutant.test for mutant in chosen})
        if _run(copy, tests, LONGEST * len(tests)) != 0:
            print("the tests fail without any mutant: run them alone")
            return 1
        survivors = [mutant for mutant in chosen if not _is_killed(copy, mutant)]
    print(f"{len(chosen)} mutants, {len(survivors)} survived")
    return int(bool(survivors))


def _copy_tree(folder: Path) -> None:
    """Copy what git knows, or would; the environment is shared."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file() and not source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _is_killed(folder: Path, mutant: Mutant) -> bool:
    path = folder / mutant.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(mutant.applied(whole), encoding="utf-8")
    status = _run(folder, [mutant.test], LONGEST)
    path.write_text(whole, encoding="utf-8")
    verdict = "killed" if status == FAILED else "SURVIVED" if status == 0 else f"NOT TRIED ({status})"
    print(f"{verdict:<9} {mutant.name}  {mutant.test}", flush=True)
    return status == FAILED


def _run(folder: Path, tests: Sequence[str], timeout: float) -> int:
    # without bytecode: two versions of a file within one second look alike to it
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=folder, timeout=timeout, capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        return FAILED
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
