"""What a training script of one's own imports.

    from yolotui import watch

    run = watch("runs/mine", layout=..., head=..., model=model, optimizer=optimizer)
    for images, targets in loader:
        ...
        run.step(losses={"lbox": lbox, ...}, images=images, targets=targets, pred=pred)
    run.close()

Only ``losses`` is required. Importing this costs next to nothing and never touches a module named ``engine``
or ``tui`` of the script's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.layout import Head as Head
    from engine.layout import Layout as Layout
    from engine.recorder import Recorder as Recorder
    from engine.recorder import watch as watch

    __version__: str

__all__ = ["Head", "Layout", "Recorder", "__version__", "watch"]

_PLACES = {"Head": "layout", "Layout": "layout", "Recorder": "recorder", "watch": "recorder"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("yolotui")
    elif name in _PLACES:
        from importlib import import_module

        value = getattr(import_module(f"{__name__}._engine.{_PLACES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
