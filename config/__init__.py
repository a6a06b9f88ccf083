"""The settings, typed and checked, and the logging."""

from config.account import Account
from config.faults import SettingsError
from config.settings import Settings, load

__all__ = ["Account", "Settings", "SettingsError", "load"]
