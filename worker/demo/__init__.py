"""A self-contained demo of the main job."""

from worker.demo.main import main

__all__ = ["main"]
