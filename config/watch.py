"""Notice that a file which settings come from has changed, and read them again once it is quiet."""

import os
from collections.abc import Mapping
from pathlib import Path

from config.faults import SettingsError
from config.settings import Settings, load
from config.sources import places

FileStamp = tuple[str, int, int, int, int, int]
Stamp = tuple[FileStamp | None, ...]


class Watch:
    """Look at the files behind an environment's settings, each time `look` is called; it blocks on the file system.

    Files are compared by device, inode, size and times of change, behind links: Kubernetes replaces a link. The
    second time changes with the permissions, too: a file that could not be read may be readable now.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._seen: Stamp | None = None
        self._read: Stamp | None = None

    def look(self) -> Settings | None:
        """Return the settings if a file has changed since the last time and none between the last two looks.

        So a file that is being written, or the second of two that belong together, has the time from one look to the
        next. The first settings come at the second look. Raises SettingsError.
        """
        stamp = self._stamp()
        if stamp == self._read or stamp != self._seen:
            self._seen = stamp
            return None
        settings, fault = self._load()
        if self._stamp() != stamp:  # it may be half of each
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
