"""The bench is run as ``python -m tests.faults.bench`` too, so its modules import each other by full name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
