"""What processes use, as Linux counts it in /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True, slots=True)
class Stat:
    """A process' parent, and the user and system time of all its threads, in clock ticks."""

    parent: int
    ticks: int

    @classmethod
    def parse(cls, line: str) -> Stat:
        """Read /proc/<pid>/stat; the name in it may hold blanks and brackets."""
        fields = line.rpartition(")")[2].split()
        return cls(parent=int(fields[1]), ticks=int(fields[11]) + int(fields[12]))


def family(root: int, stats: Mapping[int, Stat]) -> Iterator[int]:
    """Yield a process and everything it started, and they started."""
    yield root
    for pid, stat in stats.items():
        if stat.parent == root:
            yield from family(pid, stats)


def tree(root: int) -> list[int]:
    """Return the ids of a process and all its descendants that run now."""
    stats = _all_stats()
    return [pid for pid in family(root, stats) if pid in stats]


def cpu_seconds(root: int) -> float:
    """Return the user and system time that a process and its living descendants have used."""
    stats = _all_stats()
    return sum(stats[pid].ticks for pid in family(root, stats) if pid in stats) / _TICKS


def machine_seconds() -> float:
    """Return the CPU time that everything on this machine has used."""
    return busy_ticks(Path("/proc/stat").read_text()) / _TICKS


def busy_ticks(text: str) -> int:
    """Read the first line of /proc/stat: all but idle time, waits for a disk, and guests (counted twice)."""
    user, nice, system, _idle, _wait, irq, soft_irq, steal = map(int, text.split()[1:9])
    return user + nice + system + irq + soft_irq + steal


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6


def _all_stats() -> dict[int, Stat]:
    stats: dict[int, Stat] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stats[int(folder.name)] = Stat.parse((folder / "stat").read_text())
            except OSError:  # it has ended meanwhile
                continue
    return stats


def main_thread_us(pid: int) -> float:
    """Return the CPU that a process' first thread has used, in microseconds, as its scheduler counts it."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1000
