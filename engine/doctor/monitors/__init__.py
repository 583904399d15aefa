"""Live monitors: what a running training shows of its own faults.

Statistics are computed on the device, into one small tensor that is read with the losses; the rules that
judge them run on the host and raise warnings, once each, and clear them when they are gone.
"""

from .setting import Setting
from .watch import Look, Monitors, not_finite

__all__ = ["Look", "Monitors", "Setting", "not_finite"]
