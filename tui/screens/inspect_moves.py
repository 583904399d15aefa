"""The keys that move through the inspector: what is looked at, jumps, time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.inspection.history import Change
from engine.inspection.jump import Extreme, Kind

from ..format import signed
from ..inspect.picker import Choice, Picker
from ..inspect.state import KIND_WORDS, Place
from .inspect_command import InspectCommands

EXTREME_WORDS: dict[str, str] = {
    "worst loss": "largest loss",
    "worst gradient": "largest gradient",
    "largest": "largest value",
    "smallest": "smallest value",
}
CHANGES: tuple[tuple[Change, str], ...] = (
    ("differs", "first differed from the reference"),
    ("nonfinite", "first held a NaN or an infinity in any tensor"),
    ("stops positive", "stopped being positive"),
    ("becomes positive", "became positive"),
    ("sign", "changed the sign of the quantity in the grid"),
)


class InspectMoves(InspectCommands):
    _before_reference = ""
    """The quantity shown before its difference to the reference."""

    # what is looked at

    def action_anchor(self, by: int) -> None:
        self._at.turn_anchor(by)
        self.sync()

    def action_all_anchors(self) -> None:
        self._at.toggle_all_anchors()
        self.say("at each cell the anchor that stands out most" if self._at.all_anchors else "one anchor")
        self.sync()

    def action_image(self, by: int) -> None:
        self._at.turn_image(by)
        self.sync()

    def action_head(self, by: int) -> None:
        self._at.turn_head(by)
        self.sync()

    def action_quantity(self, by: int) -> None:
        self._at.turn_quantity(by)
        self._name_quantity()

    def _name_quantity(self) -> None:
        shown = self._at.shown
        self.say(f"{shown.name}: {shown.description}")
        self.sync()

    def action_pick(self) -> None:
        inspection = self._at
        choices: list[Choice[Callable[[], None]]] = []
        for quantity in inspection.quantities():
            choices.append(
                Choice(quantity.name, quantity.description, _partial(inspection.show, quantity.name))
            )
        heads = inspection.frame.heads
        for k, head in enumerate(heads):
            if len(heads) > 1:
                text = f"output grid {head.grid_h}x{head.grid_w}, stride {head.stride}"
                choices.append(Choice(f"head {k}", text, _partial(inspection.go_to_head, k)))
        slot, here = inspection.slot, heads[inspection.slot.head]
        for k, (w, h) in enumerate(here.anchors.tolist()):
            text = f"anchor of {w:.3g} x {h:.3g} cells, {w * here.stride:.0f} x {h * here.stride:.0f} px"
            choices.append(Choice(f"anchor {k}", text, _partial(inspection.turn_anchor, k - slot.anchor)))
        paths = inspection.frame.snapshot.paths
        for k in range(inspection.frame.batch):
            text = paths[k] if k < len(paths) else f"image {k + 1} of the batch"
            choices.append(Choice(f"image {k}", text, _partial(inspection.turn_image, k - slot.image)))
        names = [choice.name for choice in choices]
        self.app.push_screen(
            Picker("Show in the grid", choices, names.index(inspection.quantity)), self._take_choice
        )

    def _take_choice(self, chosen: Callable[[], None] | None) -> None:
        if chosen is not None:
            chosen()
            self._name_quantity()

    def action_reference(self) -> None:
        """The channel looked at as its difference to the reference, and again what was shown."""
        inspection = self._at
        if inspection.quantity.startswith("differ."):
            inspection.show(self._before_reference or inspection.quantities()[0].name)
        else:
            channel = inspection.quantity.rpartition(".")[2]
            names = [q.name for q in inspection.quantities() if q.name.startswith("differ.")]
            wrong = [f"differ.{name}" for name in inspection.wrong_channels()]
            shown = f"differ.{channel}"
            wanted = [shown, *wrong, *names] if shown in wrong or not wrong else [*wrong, shown, *names]
            self._before_reference = inspection.quantity
            inspection.show(next(name for name in wanted if name in names))
        self._name_quantity()

    def action_scale(self) -> None:
        self._at.fixed_scale = not self._at.fixed_scale
        self.say("colours fixed through all steps" if self._at.fixed_scale else "colours of this step alone")
        self.sync()

    # jumps

    def action_find(self, kind: Kind, backwards: bool) -> None:
        found = self._at.find_next(kind, backwards)
        if found is None:
            nothing = f"no slot differs from {self._at.frame.reference_name}"
            self.say(
                nothing if kind == "mismatch" else f"there is no {KIND_WORDS[kind]} in this batch", "warn"
            )
        else:
            around = ", from the other end" if found.wrapped else ""
            self.say(f"{KIND_WORDS[kind]} {found.number:,} of {found.count:,}{around}")
        self.sync()

    def action_extreme(self, extreme: Extreme, backwards: bool) -> None:
        place = self._at.go_to_extreme(extreme, backwards)
        if place is None:
            self.say(f"this step has no {'map of a loss' if extreme == 'worst loss' else 'gradient'}", "warn")
        else:
            name = f" of {self._at.quantity}" if extreme in ("largest", "smallest") else ""
            order = f"number {place[0]} in order" if place[0] > 1 else "the first"
            self.say(f"{EXTREME_WORDS[extreme]}{name}: {order}, at {self._at.slot}")
        self.sync()

    def action_bookmark(self) -> None:
        set_now = self._at.toggle_bookmark()
        self.say(f"bookmark {'set' if set_now else 'removed'}: {self._at.place()}; ' lists them")
        self.sync()

    def action_bookmarks(self) -> None:
        choices = [Choice(str(place.slot), str(place), place) for place in self._at.bookmarks]
        self.app.push_screen(Picker("Bookmarks", choices), self._go_to)

    def _go_to(self, place: Place | None) -> None:
        if place is None:
            return
        try:
            self._at.jump(place.slot, place.step, place.quantity)
        except KeyError:
            self.say(f"step {place.step:,} is no longer held", "warn")
        self.sync()

    def action_back(self) -> None:
        place = self._at.back()
        self.say(f"back at {place}" if place else "the steps to go back to are no longer held")
        self.sync()

    # time

    def action_step(self, by: int) -> None:
        inspection = self._at
        inspection.follow = False
        before, was = inspection.step, inspection.value()
        if inspection.turn_step(by):
            change = inspection.value() - was
            about = f"; this cell {signed(change)}" if change == change else ""
            self.say(f"step {inspection.step:,}, before it step {before:,} was shown{about}")
        else:
            self.say(
                "that was the first captured step" if by < 0 else "that was the last captured step", "warn"
            )
        self.sync()

    def action_when(self) -> None:
        choices = [
            Choice(change, f"when this slot {text}", change)
            for change, text in CHANGES
            if change != "differs" or self._at.frame.has_reference
        ]
        self.app.push_screen(Picker(f"When did {self._at.slot} ...", choices), self._when)

    def _when(self, change: Change | None) -> None:
        if change is None:
            return
        event = self._at.when_first(change)
        text = dict(CHANGES)[change]
        self.say(
            event.text if event else f"in the captured steps it never {text}", "good" if event else "warn"
        )
        self.sync()


def _partial(action: Callable[[Any], None], value: object) -> Callable[[], None]:
    def run() -> None:
        action(value)

    return run
