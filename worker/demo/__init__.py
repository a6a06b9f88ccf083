"""The main job in half a minute, on this machine alone."""

from worker.demo.main import main

__all__ = ["main"]
