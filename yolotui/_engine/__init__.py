"""The engine under a name of our own: its modules are those of the folder ``engine`` beside ``yolotui``.

A script's folder may hold an ``engine.py`` or ``engine/`` of its own, which ``import engine`` finds first.
The engine's modules import one another relatively, so they do not care under which name they are loaded.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[2] / "engine")]
