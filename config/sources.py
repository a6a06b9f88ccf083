"""The sources of settings, as layers for pydantic-settings; the first that has a value wins.

The environment (and the files its `..._FILE` variables name), the TOML file, the secrets folder.
pydantic-settings' own sources are not used: they read only `os.environ`, parse values of nested names as JSON (an
app id becomes a number), and can't say which variable or file a value came from.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from config.faults import NESTED, PREFIX, Fault, nearest, variable

DEFAULT_SECRETS_DIR = "/run/secrets"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
SECRETS_VARIABLE = f"{PREFIX}SECRETS_DIR"

_FILE = "_file"
_NO_TEXT = "it is not UTF-8 text, save it as that"
_ACCOUNTS = "accounts"
# Kubernetes sets these in every pod beside a Service called otpreport: they are not settings.
_SERVICE_LINK = re.compile(r".*(^|_)(service_host|service_port(_\w+)?|port_[0-9]+_(tcp|udp|sctp)(_\w+)?)")
_NAME_PREFIX = re.compile(r"^\ufeff?\s*((export|set)\s+)?")
_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*)(?:[:?+-][^{}]*)?\}|\$\(([A-Z_][A-Z0-9_]*)\)|\{\{[^{}]*\}\}")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")

Path_ = tuple[str, ...]


class _Masked(dict[str, object]):
    """Values hidden from repr: pydantic-settings can log what each source returned."""

    def __repr__(self) -> str:
        return f"<{len(self)} settings>"


class Layer(PydanticBaseSettingsSource):
    """The settings of one source, their origins, and the faults met in reading them.

    `empty`: it was named and holds no setting, which matters only if one is missing.
    """

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        self.faults: list[Fault] = []
        self.origins: dict[Path_, str] = {}
        self.unread: list[Path_] = []
        self.empty: Fault | None = None
        self._values = _Masked()

    def __call__(self) -> dict[str, object]:
        """Return the settings as nested tables."""
        return self._values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """Return one value; unused, but abstract in the base class."""
        del field
        return self._values.get(field_name), field_name, False

    def put(self, path: Path_, value: object, origin: str) -> None:
        """Keep `value`; an empty text counts as not set, since `${NAME:-}` produces one.

        A reference in it, which env files, systemd and TOML leave as it is, is a fault: no host or key is called so.
        """
        if value == "":
            return
        if isinstance(value, str) and (reference := _REFERENCE.search(value)):
            problem = f"holds {_name_of(reference)}, which nothing has replaced"
            self.faults.append(
                Fault(path, problem, "write the value itself: files and variables are read as they are")
            )
            self.unread.append(path)
            self.origins[path] = origin
            return
        table: dict[str, object] = self._values
        for name in path[:-1]:
            table = cast("dict[str, object]", table.setdefault(name, {}))
        table[path[-1]] = value
        self.origins[path] = origin

    def blame(self, name: str, problem: str, fix: str) -> None:
        """Record that a file or variable can't be used."""
        self.faults.append(Fault((name,), problem, fix))

    def read(self, file: Path, named_by: str) -> str | None:
        """Return the text of a file, without a byte order mark, or None and a fault."""
        try:
            text = file.read_text(encoding="utf-8-sig")
            if "\0" not in text:  # UTF-16 without a byte order mark is full of them
                return text
            reason: str | None = _NO_TEXT
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else _NO_TEXT
        self.blame(named_by, _about(file, named_by, "can't be read"), str(reason))
        return None

    def put_file(self, name: str, file: Path, named_by: str) -> None:
        """Keep the content of a file for the setting `name`."""
        text = self.read(file, named_by)
        if text and bare(text):
            self.put_text(name, text, named_by)
            return
        self.unread.append(path_of(name) or ())
        if text is not None:
            self.blame(named_by, _about(file, named_by, "is empty"), "write the value into it")

    def put_text(self, name: str, text: str, origin: str) -> None:
        """Keep a text for the setting `name` (without the prefix), or record an unknown name."""
        path = path_of(name)
        if path is None:
            self.blame(origin, "is unknown", _meant(name, tuple(self.settings_cls.model_fields)))
        else:
            self.put(path, bare(text), origin)


def _name_of(reference: re.Match[str]) -> str:
    """Return the reference without what may stand behind its name: a default may be a secret."""
    shell, kubernetes = reference.groups()
    return f"${{{shell}}}" if shell else f"$({kubernetes})" if kubernetes else "{{ }}"


def bare(text: str) -> str:
    """Return a value without what came along: a line break from a file, the quotes that `docker run --env-file` keeps.

    No setting begins and ends with space or with the same quotation mark.
    """
    text = text.strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _about(file: Path, named_by: str, problem: str) -> str:
    """Return the problem of a file, which the subject of the fault names or is."""
    return problem if named_by == str(file) else f"names {file}, which {problem}"


def path_of(name: str) -> Path_ | None:
    """Return the path of a variable's name in lower case and without the prefix.

    None if it can't be a setting. The part between the first and the last `__` is the account's name.
    """
    first, _, rest = name.partition(NESTED)
    if not rest:
        return None if name == _ACCOUNTS or name.startswith(f"{_ACCOUNTS}_") else (name,)
    account, _, field = rest.rpartition(NESTED)
    return (_ACCOUNTS, account, field) if first == _ACCOUNTS and account and field else None


def _meant(name: str, fields: tuple[str, ...]) -> str:
    if name.startswith(_ACCOUNTS):
        return f"write an account's setting as {PREFIX}ACCOUNTS__<NAME>__<SETTING>, with double underscores"
    near = nearest(name, fields)
    return (
        f"did you mean {variable((near,))}?"
        if near
        else f"only settings of accounts have {NESTED} in the name"
    )


class Environment(Layer):
    """Variables with the prefix, in any case, and the files that `..._FILE` variables name."""

    def __init__(self, settings: type[BaseSettings], environment: Mapping[str, str]) -> None:
        super().__init__(settings)
        named = dict(_prefixed(environment))
        for name, (original, value) in named.items():
            if name.endswith(_FILE):
                self._put_file(name.removesuffix(_FILE), Path(value), original, named)
            else:
                self.put_text(name, value, original)

    def _put_file(self, name: str, file: Path, original: str, named: Mapping[str, tuple[str, str]]) -> None:
        if name in named:
            self.blame(original, f"and {named[name][0]} are both set", "keep one of them")
        else:
            self.put_file(name, file, original)


def unmarked(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with bare names.

    Who reads an env file literally leaves its byte order mark, `export ` and the spaces around `=` in them.
    """
    return {_NAME_PREFIX.sub("", name).strip(): value for name, value in environment.items()}


def _prefixed(environment: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for original, value in environment.items():
        name = original.lower().removeprefix(PREFIX.lower())
        if name == original.lower() or not value or original.upper() in {CONFIG_VARIABLE, SECRETS_VARIABLE}:
            continue
        if not _is_service_link(name, value):
            yield name, (original, bare(value))


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name)) or (
        name.endswith("port") and _SERVICE_URL.match(value) is not None
    )


class TomlFile(Layer):
    """The file that OTPREPORT_CONFIG names."""

    def __init__(self, settings: type[BaseSettings], file: str) -> None:
        super().__init__(settings)
        file = bare(file)
        text = self.read(Path(file), CONFIG_VARIABLE) if file else ""
        leaves = None if text is None else self._parse(text, file)
        if leaves is None:
            self.unread.append(())
            return
        if file and not leaves:
            state = "holds no setting" if text else "is empty"
            self.empty = Fault(
                (CONFIG_VARIABLE,), f"names {file}, which {state}", "write the settings into it"
            )
        for path, value in leaves:
            self.put(path, value, file)
            if path == (_ACCOUNTS,) and not isinstance(value, dict):
                self.faults.append(
                    Fault(path, "is not a table", "write [accounts.<name>] with its settings below")
                )
                self.unread.append(path)

    def _parse(self, text: str, file: str) -> list[tuple[Path_, object]] | None:
        try:
            return list(_leaves(tomllib.loads(text)))
        except (ValueError, RecursionError) as error:  # also for a number of more digits than Python reads
            # the parser's message can quote the file, which may hold secrets: show only the position
            place = re.search(r"\(at [^()]*\)$", str(error))
            self.blame(
                CONFIG_VARIABLE,
                f"names {file}, which is not valid TOML",
                f"fix it {place[0] if place else ''}".rstrip(),
            )
            return None


def _leaves(table: Mapping[str, object], above: Path_ = ()) -> Iterator[tuple[Path_, object]]:
    """Yield every value below `table`; an empty table is a value too."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(cast("dict[str, object]", value), (*above, name))
        else:
            yield (*above, name), value


class SecretsFolder(Layer):
    """A folder with one file per setting, named like its variable: `otpreport_accounts__tencent__secret_key`."""

    def __init__(self, settings: type[BaseSettings], folder: str) -> None:
        super().__init__(settings)
        folder = bare(folder)
        files = self._files(Path(folder or DEFAULT_SECRETS_DIR), is_named=bool(folder))
        for file in files:
            self.put_file(file.name.lower().removeprefix(PREFIX.lower()), file, str(file))
        if folder and not files and not self.faults:
            self.empty = Fault(
                (SECRETS_VARIABLE,),
                f"names {folder}, which has no file of a setting",
                f"name each like its variable, as in {PREFIX.lower()}redis_url",
            )

    def _files(self, folder: Path, *, is_named: bool) -> list[Path]:
        try:
            if folder.is_dir():
                return _settings_in(sorted(folder.iterdir()))
        except OSError as error:  # `is_dir` and `is_file` also raise it without permission
            if not is_named:
                return []
            self.blame(SECRETS_VARIABLE, f"names {folder}, which can't be read", str(error.strerror))
            self.unread.append(())
            return []
        if is_named:
            self.blame(
                SECRETS_VARIABLE, f"names {folder}, which is not a folder", "create it, or unset the variable"
            )
        return []


def _settings_in(files: Iterable[Path]) -> list[Path]:
    return [file for file in files if file.name.lower().startswith(PREFIX.lower()) and file.is_file()]


def places(environment: Mapping[str, str]) -> list[Path]:
    """Return every file that settings are read from, and the secrets folder itself.

    An unreadable folder yields no files here; reading it reports the fault.
    """
    named = [Path(value) for name, (_, value) in _prefixed(environment) if name.endswith(_FILE)]
    config = bare(environment.get(CONFIG_VARIABLE, ""))
    folder = Path(bare(environment.get(SECRETS_VARIABLE, "")) or DEFAULT_SECRETS_DIR)
    try:
        secrets = _settings_in(sorted(folder.iterdir()))
    except OSError:
        secrets = []
    return [*([Path(config)] if config else []), *named, folder, *secrets]
