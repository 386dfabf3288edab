"""Lets the tests here import the harness, as `run.py` does by lying beside it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
