"""A provider cloud to run against: it checks signatures, holds to rates, injects faults, records arrivals."""

from simulator.server import Server, Simulator
from simulator.settings import Settings, parse
from simulator.validation import InvalidSettingsError

__all__ = ["InvalidSettingsError", "Server", "Settings", "Simulator", "parse"]
