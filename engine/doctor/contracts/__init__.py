"""Training contracts: what a loop owes its model and optimizer, judged by watching a few of its steps."""

from .judge import LoopJudge, Previous

__all__ = ["LoopJudge", "Previous"]
