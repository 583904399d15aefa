"""What can be saved from the inspector, each with the file that it goes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.inspection.export import save_cell_csv, save_csv, save_npy
from engine.inspection.expression import Result, evaluate
from engine.runs.snapshots import Snapshot

from .picker import Choice
from .state import Inspection


def savings(
    inspection: Inspection,
    result: Result | None,
    save_screen: Callable[[Path], Path],
    keep: Callable[[Snapshot], Path] | None = None,
) -> list[Choice[Callable[[], Path]]]:
    """The files are new ones in the current folder; ``keep`` writes the step to its run's."""
    frame, slot = inspection.frame, inspection.slot
    stem = f"step{inspection.step}"
    name = inspection.quantity.replace(".", "-")
    place = "-".join(str(k) for k in slot[1:])

    def whole() -> Result:
        return evaluate(inspection.quantity, frame, slot.head)

    choices: list[Choice[Callable[[], Path]]] = []
    if result is not None:
        choices += [
            Choice(
                "slice .npy",
                f"{result.text}, {result.shape_text}",
                lambda: save_npy(result, free(f"{stem}-slice.npy")),
            ),
            Choice(
                "slice .csv",
                f"{result.text}, with its indices",
                lambda: save_csv(result, free(f"{stem}-slice.csv")),
            ),
        ]
    choices += [
        Choice(
            "cell .csv",
            f"the channels of {slot}",
            lambda: save_cell_csv(inspection.table(), free(f"{stem}-cell-{place}.csv")),
        ),
        Choice(
            "quantity .npy",
            f"{inspection.quantity} of the whole batch",
            lambda: save_npy(whole(), free(f"{stem}-{name}.npy")),
        ),
        Choice(
            "quantity .csv",
            f"{inspection.quantity} of the whole batch, with its indices",
            lambda: save_csv(whole(), free(f"{stem}-{name}.csv")),
        ),
        Choice("screen .svg", "this screen as a picture", lambda: save_screen(free(f"{stem}-screen.svg"))),
    ]
    if keep is not None:
        choices.append(
            Choice("snapshot", "this step whole, into the run's folder", lambda: keep(frame.snapshot))
        )
    return choices


def free(name: str) -> Path:
    """A file of that name, numbered where it is taken already."""
    path = Path.cwd() / name
    k = 2
    while path.exists():
        path = path.with_name(f"{Path(name).stem}-{k}{path.suffix}")
        k += 1
    return path
