"""Somebody's own ``tui.py``."""


def line(step: int, total: float) -> str:
    return f"step {step}: {total:.3f}"
