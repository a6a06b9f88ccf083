"""`python -m simulator`."""

import sys

from simulator.app import run

sys.exit(run())
