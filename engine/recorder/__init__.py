"""The recorder for training loops that are not ours: ``from yolotui import watch``."""

from .recorder import Recorder
from .watch import watch

__all__ = ["Recorder", "watch"]
