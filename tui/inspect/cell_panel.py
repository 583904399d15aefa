"""One slot, a row a channel, and its boxes in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from textual import events

from engine.inspection.cell import CellRow, CellTable, PixelBox
from engine.inspection.export import row_text, table_text

from ..format import digits3, shorten, signed
from ..keys import bindings
from ..widgets.panel import Piece, fit
from .panel import InspectPanel
from .state import Inspection

SHARED = "┆"
"""Under a loss that several channels share."""
MIN_ROWS = 5
"""Channel rows that are kept before the boxes below them are."""


@dataclass(frozen=True)
class Column:
    name: str
    width: int
    rank: int
    """The highest ranks go first where there is no room."""


COLUMNS = (
    Column("index", 0, 8),
    Column("name", 8, 0),
    Column("target", 8, 3),
    Column("pred", 8, 4),
    Column("decoded", 9, 1),
    Column("reference", 10, 2),
    Column("diff", 11, 2),
    Column("loss", 9, 5),
    Column("grad", 10, 6),
)


class CellPanel(InspectPanel):
    key_scopes = ("table",)
    BINDINGS = bindings("table")
    help_title = "Cell"
    help_text = (
        "One slot of the tensors, a row a channel of pred. index: as code writes it, in the declared order. "
        "target: what the channel is trained towards, in the unit of decoded. pred: the raw number. "
        "decoded: conf and classes as probabilities, the box in 0..1 of the input. reference: the same by "
        "the reference. diff: decoded - reference, < where they disagree; without a reference decoded - "
        "target. loss: this channel's part of its term; ┆ where one number is shared by the rows. grad: of "
        "total by this number of pred. Below: the target tensor as it stands, and the boxes in pixels of "
        "the network's input with their IoU against the truth. Columns for which there is no room are named "
        "in the title; z enlarges."
    )

    def __init__(self, inspection: Inspection) -> None:
        super().__init__("cell")
        self.inspection = inspection
        self.number = "2"
        self.row = 0
        self.first = 0
        self._dropped: list[str] = []

    def content_key(self) -> object:
        inspection = self.inspection
        return (id(inspection.frame), inspection.slot, self.size, self.has_focus, self.row)

    def _table(self) -> CellTable:
        return self.inspection.table()

    # drawing

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        table = self._table()
        left: list[Piece] = [self.name_piece(f"{self.number} {slot_text(table)}")]
        if table.positive is not None:
            left.append(
                ("  positive" if table.positive else "  negative", "strong" if table.positive else "dim")
            )
        if table.positive and table.truth:
            x1, y1, x2, y2 = table.truth
            name = f' "{table.class_name}"' if table.class_name else ""
            left.append((f" · truth{name} {pixels(x2 - x1)}x{pixels(y2 - y1)} px", "plain"))
        self._choose(width)
        if not self._dropped:
            return fit(left, width - 4), []
        missing = "no room: " + " ".join(self._dropped)
        if sum(len(text) for text, _ in left) + len(missing) + 8 > width:
            missing = f"+{len(self._dropped)} columns: z"
        return fit(left, width - len(missing) - 8), [(missing, "warn")]

    def _choose(self, width: int) -> list[Column]:
        """The columns that mean something here and fit."""
        rows = self._table().rows
        has = {
            "target": any(row.target is not None for row in rows),
            "pred": any(row.pred is not None for row in rows),
            "decoded": any(row.decoded is not None for row in rows),
            "reference": any(row.reference is not None for row in rows),
            "diff": any(row.difference is not None for row in rows),
            "loss": any(row.loss is not None for row in rows),
            "grad": any(row.gradient is not None for row in rows),
        }
        columns = [column for column in COLUMNS if has.get(column.name, True)]
        size = max((len(row.index) for row in rows), default=0) + 1
        columns = [Column("index", size, c.rank) if c.name == "index" else c for c in columns]
        narrow = len(str(len(rows) - 1)) + 1
        short = False
        self._dropped = []
        while sum(c.width for c in columns) > width and len(columns) > 2:
            worst = max(columns, key=lambda c: c.rank)
            if worst.name == "index" and not short and sum(c.width for c in columns) - size + narrow <= width:
                columns = [Column("index", narrow, 8) if c is worst else c for c in columns]
                short = True
                continue
            columns.remove(worst)
            self._dropped.append(worst.name)
        return columns

    def body(self, width: int, height: int) -> list[list[Piece]]:
        table, columns = self._table(), self._choose(width)
        below = self._boxes(width, max(0, height - 1 - min(MIN_ROWS, len(table.rows))))
        rows = height - 1 - len(below)
        total = len(table.rows)
        self.row = min(self.row, total - 1)
        self.first = max(0, min(self.first, total - rows, self.row))
        if self.row >= self.first + rows:
            self.first = self.row - rows + 1
        shown = table.rows[self.first : self.first + rows]
        against = next((row.against for row in table.rows if row.against), "")
        lines = [self._header(columns, against, len(shown), total)]
        for k, row in enumerate(shown, self.first):
            above = table.rows[k - 1] if k else None
            lines.append(
                self._row(row, above if k > self.first else None, columns, k == self.row and self.has_focus)
            )
        return [*lines, *below]

    def _header(self, columns: list[Column], against: str, shown: int, total: int) -> list[Piece]:
        text = ""
        for column in columns:
            name = "diff" if column.name == "diff" and against != "target" else column.name
            name = "- target" if column.name == "diff" and against == "target" else name
            name = "#" if column.name == "index" and column.width < 8 else name
            text += (
                name.ljust(column.width)
                if column.name in ("index", "name")
                else name.rjust(column.width - 2) + "  "
                if column.name == "diff"
                else name.rjust(column.width)
            )
        line: list[Piece] = [(text, "dim")]
        if shown < total:
            where = f"{self.first + 1}-{self.first + shown}/{total}"
            at = sum(column.width for column in columns if column.name == "index")
            room = next(column.width for column in columns if column.name == "name")
            if len(where) < room:
                return [(text[:at], "dim"), (where.ljust(room), "warn"), (text[at + room :], "dim")]
            line.append((where, "warn"))
        return line

    def _row(self, row: CellRow, above: CellRow | None, columns: list[Column], focused: bool) -> list[Piece]:
        line: list[Piece] = []
        for column in columns:
            text, style = self._text(row, above, column)
            if column.name in ("index", "name"):
                text = shorten(text, column.width - 1).ljust(column.width)
            else:
                text = squeezed(text, column.width - 1).rjust(column.width)
            line.append((text, "cursor" if focused and column.name in ("index", "name") else style))
        return line

    def _text(self, row: CellRow, above: CellRow | None, column: Column) -> tuple[str, str]:
        match column.name:
            case "index":
                return (row.index if column.width >= 8 else channel_number(row.index, self._table())), "dim"
            case "name":
                return self._channel_name(row), "strong" if row.differs else "plain"
            case "target":
                return number(row.target), _style(row.target)
            case "pred":
                return number(row.pred), _style(row.pred)
            case "decoded":
                return number(row.decoded), _style(row.decoded, "strong")
            case "reference":
                return number(row.reference), _style(row.reference)
            case "diff":
                if row.difference is None:
                    return "-  ", "dim"
                return signed(row.difference) + (
                    " <" if row.differs else "  "
                ), "bad" if row.differs else "plain"
            case "loss":
                if row.loss_is_shared and above is not None and above.term == row.term:
                    return SHARED, "dim"
                return number(row.loss), _style(row.loss)
            case _:
                return number(row.gradient), _style(row.gradient)

    def _channel_name(self, row: CellRow) -> str:
        if not row.name.startswith("class"):
            return row.name
        label = int(row.name[5:])
        name = self.inspection.frame.class_name(label)
        mark = "●" if self._table().label == label else " "
        return f"{row.name[5:]}{mark}{name}"

    def _boxes(self, width: int, room: int) -> list[list[Piece]]:
        """The target tensor's numbers and the boxes, as much as there is room for, the boxes first."""
        table = self._table()
        boxes: list[tuple[str, PixelBox | None, float | None, str]] = [
            ("T truth", table.truth, None, "good"),
            ("D decoded", table.decoded, table.iou, "strong"),
            ("R reference", table.reference, table.reference_iou, "plain"),
            ("A anchor", table.anchor, None, "dim"),
        ]
        lines: list[list[Piece]] = []
        wide = width >= 60
        head = ("x1", "y1", "x2", "y2", "w", "h") if wide else ("x", "y", "w", "h")
        lines.append(
            [(f"{'box, px':<12}{''.join(name.rjust(7 if wide else 5) for name in head)}{'IoU':>8}", "dim")]
        )
        for name, box, overlap, style in boxes:
            if box is None:
                continue
            x1, y1, x2, y2 = box
            if wide:
                text = "".join(pixels(v).rjust(7) for v in (*box, x2 - x1, y2 - y1))
            else:
                text = "".join(whole(v).rjust(5) for v in ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1))
            lines.append(
                [
                    (f"{name:<12}{text}", style),
                    ((digits3(overlap) if overlap is not None else "").rjust(8), "strong"),
                ]
            )
        if table.target_rows:
            lines.append([])
            lines += self._target_lines(width)
        lines.insert(0, [])
        if len(lines) > room:
            lines = [line for line in lines if line]
        return lines[:room]

    def _target_lines(self, width: int) -> list[list[Piece]]:
        rows = self._table().target_rows
        prefix = slot_prefix(rows[0].index, [row.index for row in rows])
        parts = [f"{row.name} {target_number(row.name, row.value)}" for row in rows]
        lines: list[list[Piece]] = [[(prefix, "dim")]]
        used = len(prefix)
        for part, row in zip(parts, rows, strict=True):
            if used + len(part) + 2 > width:
                lines.append([("  ", "dim")])
                used = 2
            differs = row.reference is not None and not math.isclose(
                row.value, row.reference, rel_tol=1e-3, abs_tol=1e-4
            )
            lines[-1].append(("  " + part + (" <" if differs else ""), "bad" if differs else "plain"))
            used += len(part) + 2
        return lines

    # keys

    def action_row(self, by: int) -> None:
        self.row = min(max(self.row + by, 0), len(self._table().rows) - 1)
        self.invalidate()

    def action_show_row(self) -> None:
        """The focused channel in the grid: its raw number where nothing nearer is there."""
        name = self._table().rows[self.row].name
        known = {quantity.name for quantity in self.inspection.quantities()}
        for candidate in ("conf" if name == "conf" else "", f"decoded.{name}", f"pred.{name}"):
            if candidate in known:
                self.inspection.show(candidate)
                break
        self.screen.sync()  # type: ignore[attr-defined]

    def on_click(self, event: events.Click) -> None:
        self.focus()
        at = self.first + event.y - 2
        if 0 <= at < len(self._table().rows):
            self.row = at
            self.invalidate()

    def copied_name(self) -> str:
        return f"the row {self._table().rows[self.row].index}"

    def plain_text(self) -> str:
        """What ``y`` copies: the focused channel, with its header."""
        return row_text(self._table().rows[self.row])

    def whole_text(self) -> str:
        return table_text(self._table())


def number(value: float | None) -> str:
    return "-" if value is None else digits3(value)


def squeezed(text: str, width: int) -> str:
    """A small number in powers of ten, with fewer digits where it would meet its neighbour: ``-8.2e-13``."""
    number, mark, rest = text.partition(" ")
    for digits in (1, 0):
        shortens = "e" in number or "0.000" in number
        if len(number + mark + rest) <= width or not shortens:
            break
        mantissa, power = f"{float(number):.{digits}e}".split("e")
        sign = "+" if number.startswith("+") else ""
        number = f"{sign}{mantissa}e{int(power)}"
    return number + mark + rest


def target_number(name: str, value: float) -> str:
    return f"{value:g}" if name in ("mask", "class") else digits3(value)


def pixels(value: float) -> str:
    return digits3(value) if abs(value) < 1e4 or value != value else f"{value:.0f}"


def whole(value: float) -> str:
    """A pixel without its fraction."""
    return f"{value:.0f}" if abs(value) < 1e4 else digits3(value)


def _style(value: float | None, usual: str = "plain") -> str:
    if value is None:
        return "dim"
    return usual if math.isfinite(value) else "nonfinite"


def _positions(index: str) -> list[str]:
    return index[index.index("[") + 1 : -1].split(", ")


def _varying(indices: list[str]) -> list[int]:
    columns = list(zip(*(_positions(index) for index in indices), strict=True))
    return [k for k, column in enumerate(columns) if len(set(column)) > 1]


def channel_number(index: str, table: CellTable) -> str:
    """The part of a raw index that tells the channels apart."""
    varying = _varying([row.index for row in table.rows])
    return _positions(index)[varying[0]] if varying else "0"


def slot_prefix(index: str, indices: list[str]) -> str:
    """``pred[4, 6, 7, 2, :]``: what a slot's channels have in common."""
    varying = _varying(indices)
    parts = [":" if k in varying else part for k, part in enumerate(_positions(index))]
    return f"{index[: index.index('[')]}[{', '.join(parts)}]"


def slot_text(table: CellTable) -> str:
    if not table.rows:
        return str(table.slot)
    return slot_prefix(table.rows[0].index, [row.index for row in table.rows])
