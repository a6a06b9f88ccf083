import errno
import os
from pathlib import Path

import pytest

from config import Settings, SettingsError
from config.watch import Watch
from tests.unit.config.environment import GOOD, SECRET

KEY = "OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY"
WITHOUT_KEY = {name: value for name, value in GOOD.items() if name != KEY}


def key(settings: Settings | None) -> str:
    """Return the key that the settings hold."""
    assert settings is not None
    return str(getattr(settings.accounts["tencent"].options, "secret_key").get_secret_value())  # noqa: B009


def started(environment: dict[str, str]) -> Watch:
    """Return a watch that has read the settings once, at its second look."""
    watch = Watch(environment)
    assert watch.look() is None
    assert watch.look() is not None
    assert watch.look() is None
    return watch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with a key."""
    path = tmp_path / "key"
    path.write_text(SECRET)
    return path


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_a_variable_names(file: Path, tmp_path: Path, replaced: bool) -> None:
    """Written anew or moved into its place, it is read at the second look after that, and once."""
    watch = started(WITHOUT_KEY | {f"{KEY}_FILE": str(file)})
    target = tmp_path / "new" if replaced else file
    target.write_text("new-key")
    target.replace(file)
    assert watch.look() is None, "it may still be written"
    assert key(watch.look()) == "new-key"
    assert watch.look() is None


def test_the_settings_file(tmp_path: Path) -> None:
    """Keys that stand in the TOML file are read anew with it."""
    path = tmp_path / "otpreport.toml"
    text = '[accounts.tencent]\nsecret_key = "{}"\n'
    path.write_text(text.format("old"))
    watch = started(WITHOUT_KEY | {"OTPREPORT_CONFIG": str(path)})
    path.write_text(text.format("newer"))
    assert watch.look() is None
    assert key(watch.look()) == "newer"


def test_the_swap_of_kubernetes(tmp_path: Path) -> None:
    """A mounted secret is a link to `..data`, itself a link to a folder: only that last link is replaced."""
    name = "otpreport_accounts__tencent__secret_key"
    for version in ("one", "two"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / name).write_text(f"key-{version}")
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / name).symlink_to(f"..data/{name}")
    watch = started(WITHOUT_KEY | {"OTPREPORT_SECRETS_DIR": str(tmp_path)})
    (tmp_path / "..new").symlink_to("..two")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert watch.look() is None
    assert key(watch.look()) == "key-two"


def test_a_file_that_is_being_written_is_left_alone(file: Path) -> None:
    """As long as it changes from one look to the next, it is not read."""
    watch = started(WITHOUT_KEY | {f"{KEY}_FILE": str(file)})
    for length in range(1, 6):
        file.write_text("k" * length)
        assert watch.look() is None
    assert key(watch.look()) == "k" * 5


def test_what_changes_while_it_is_read_is_read_again(file: Path) -> None:
    """Settings of which a part may be old and a part new are thrown away."""

    class Overtaken(Watch):
        """A watch that somebody overtakes once: a file changes as soon as it was read."""

        overtaken = False

        def _load(self) -> tuple[Settings | None, SettingsError | None]:
            read = super()._load()
            if not self.overtaken:
                self.overtaken = True
                file.write_text("changed-meanwhile")
            return read

    watch = Overtaken(WITHOUT_KEY | {f"{KEY}_FILE": str(file)})
    assert watch.look() is None
    assert watch.look() is None
    assert watch.look() is None
    assert key(watch.look()) == "changed-meanwhile"


@pytest.mark.parametrize("text", ["", "two words\n", None])
def test_settings_that_are_wrong_are_told_once(file: Path, text: str | None) -> None:
    """Empty, half-written or gone: a line that says which file, without what stood in it; then right again."""
    watch = started(WITHOUT_KEY | {f"{KEY}_FILE": str(file)})
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    assert watch.look() is None
    with pytest.raises(SettingsError) as refused:
        watch.look()
    assert len(refused.value.faults) == 1
    assert "words" not in str(refused.value)
    assert watch.look() is None
    file.write_text("fixed")
    assert watch.look() is None
    assert key(watch.look()) == "fixed"


def test_files_of_others_are_not_looked_at(tmp_path: Path) -> None:
    """A secrets folder that programs share: only ours are read, and a new one of ours is seen."""
    (tmp_path / "other").write_text("x")
    watch = started(GOOD | {"OTPREPORT_SECRETS_DIR": str(tmp_path)})
    (tmp_path / "other").write_text("xyz")
    assert watch.look() is None
    assert watch.look() is None


def test_a_file_that_may_be_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbidden, it is a fault; allowed with nothing else changed, it is read; root is held to it, too."""
    really = Path.read_text

    def strictly(self: Path, encoding: str | None = None) -> str:
        if self == file and not self.stat().st_mode & 0o444:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return really(self, encoding)

    monkeypatch.setattr(Path, "read_text", strictly)
    watch = started(WITHOUT_KEY | {f"{KEY}_FILE": str(file)})
    file.chmod(0)
    assert watch.look() is None
    with pytest.raises(SettingsError, match="Permission denied"):
        watch.look()
    file.chmod(0o444)
    assert watch.look() is None
    assert key(watch.look()) == SECRET
