"""Detect changes of the settings' files, and reload once they are stable."""

import os
from collections.abc import Mapping
from pathlib import Path

from config.faults import SettingsError
from config.settings import Settings, load
from config.sources import places, unmarked

FileStamp = tuple[str, int, int, int, int, int]
Stamp = tuple[FileStamp | None, ...]


class Watch:
    """Check the files behind an environment's settings at each call of `look`, which blocks on the file system.

    Files are compared by device, inode, size, mtime and ctime, following links: Kubernetes replaces a link. ctime also
    changes with permissions, after which an unreadable file may be readable.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = unmarked(environment)
        self._seen: Stamp | None = None
        self._read: Stamp | None = None

    def look(self) -> Settings | None:
        """Return the settings if a file changed since they were last read and none did between the last two calls.

        This leaves one interval for a file that is being written, or for the second of two that belong together. The
        first settings come at the second call. Raises SettingsError.
        """
        stamp = self._stamp()
        if stamp == self._read or stamp != self._seen:
            self._seen = stamp
            return None
        settings, fault = self._load()
        if self._stamp() != stamp:  # possibly a mix of old and new
            return None
        self._read = stamp
        if fault is not None:
            raise fault
        return settings

    def _load(self) -> tuple[Settings | None, SettingsError | None]:
        try:
            return load(self._environment), None
        except SettingsError as error:
            return None, error
        except OSError as error:
            return None, SettingsError([f"{error.filename} can't be read: {error.strerror}"])

    def _stamp(self) -> Stamp:
        return tuple(_stamp(place) for place in places(self._environment))


def _stamp(place: Path) -> FileStamp | None:
    try:
        found = os.stat(place)  # noqa: PTH116 - of the file behind the link
    except OSError:
        return None
    return str(place), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
