"""Lines of ``name=value`` and ``name: value``: tqdm's postfix (the seed's form), YOLOX, mmdetection's text,
detectron2, Keras, Lightning, and what people print themselves.

Which lines of a file those are is not settled by one line: prose, tracebacks and model dumps hold pairs too.
So a file is surveyed first (``PairSurvey``), and ``PairReader`` takes the families of lines that repeat.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from .bar import Bar, find_bar
from .points import Phase, Point, Position
from .position import is_placed, position
from .prefixes import split
from .roles import VALIDATION, in_bytes, is_loss, role
from .values import NUMBER, Printed, printed

_WORD = r"[A-Za-z_][\w.@/%\-]*(?:\(\w+\))?"
_PAIR = re.compile(
    rf"(?P<name>{_WORD}(?: {_WORD}){{0,2}}(?:@\[?[\d.:]+\]?)?)['\"]?\s?[:=]\s*"
    rf"(?:tensor\(\[?|np\.float\d+\(|array\()?['\"]?"
    rf"(?P<value>{NUMBER})(?P<unit>%|[A-Za-z]{{1,3}}(?:/[A-Za-z]{{1,6}})?)?(?![\w:/%]|\.\w|,\d{{3}}\b)",
    re.I,
)
_BEFORE = (
    r"train(?:ing)?|val(?:id(?:ation)?)?|dev|test|eval|total|avg|mean|best"
    r"|cls|class|box|bbox|obj|conf|dfl|iou|giou"
)
"""Words that make another name of ``loss`` when they stand before it."""
_SPACED = re.compile(
    rf"(?<![\w.])(?P<name>(?:(?:{_BEFORE})[ ])?\w*loss\w*|lr|learning_rate|acc(?:uracy)?@?\d?|mAP\S*|AP\d*"
    r"|\w*iou)\s+"
    rf"(?P<value>{NUMBER})(?P<unit>%)?(?![\w:/%]|\.\w|,\d)",
    re.I,
)
_SHORT = re.compile(
    r"(?<![\w.])(?P<name>l?_?(?:cls|box|bbox|obj|conf|dfl|noobj|xy|wh)|P|R|F1|precision|recall)[ ]+"
    r"(?P<value>\d*\.\d+(?:e[-+]?\d+)?)(?P<unit>%)?(?![\w:/%]|\.\w)",
    re.I,
)
"""Names too short to stand alone: read beside others, and with a decimal point in the value."""
_SPLITS = re.compile(r"^(?:epochs?|ep|iter(?:ation)?s?|steps?|batch|and|avg\.?|train(?:ing)?:)\s+", re.I)
_EVALUATING = re.compile(
    r"\b(?:val(?:id|idation|idating|idate)?|test(?:ing)?|eval(?:uation|uating|uate)?)\b", re.I
)
_TRAINING = re.compile(r"\btrain", re.I)
BEGINS = re.compile(
    r"\btraining start|\bstart(?:ing)? training\b|^Start running, host|\bTraining begin"
    r"|\bresum(?:ed|ing) (?:training|from|epoch|at)\b|^Learning Rate: [\d.e-]+, Momentum",
    re.I,
)
_MORE = re.compile(r",\d")
_COMMA = re.compile(r"(?<=[A-Za-z0-9)\]@'\"][ :=])(\s*[-+]?\d+),(\d+)(?![\d,]|\.\d)")
_POINT = re.compile(r"(?<![\w.,:])\d+\.\d+(?![\d.,:])")
_THOUSANDS = re.compile(r"\s*[-+]?[1-9]\d{0,2},\d{3}$")
_DIGIT = re.compile(r"\d|nan|inf", re.I)
Family = tuple[str, ...]


@dataclass(slots=True)
class Parsed:
    place: Position
    pairs: list[tuple[str, Printed, str]]
    bar: Bar | None
    clock: float | None
    phase: Phase

    @property
    def family(self) -> Family:
        return tuple(name for name, _, _ in self.pairs[:3])


def parse(text: str, commas: bool = False) -> Parsed | None:
    """A line's pairs and its place; None where it has neither. ``commas``: they stand before decimals."""
    if not _DIGIT.search(text):
        return None
    message, clock = split(text)
    if commas:
        message = _COMMA.sub(r"\1.\2", message)
    bar = find_bar(message)
    head, body = (bar.before, bar.after) if bar is not None else ("", message)
    pairs = _pairs(head) + _pairs(body) if head else _pairs(body)
    place = position(head if bar is not None else message)
    if bar is not None:
        if place.iteration is None and bar.done:
            place.iteration, place.iterations = bar.done, bar.total
        elif place.iterations is None and place.iteration is not None:
            place.iterations = bar.total
    if not pairs and not is_placed(place):
        return None
    return Parsed(place, pairs, bar, clock, _phase(head or message[:60], pairs))


def _pairs(text: str) -> list[tuple[str, Printed, str]]:
    found: list[tuple[str, Printed, str]] = []
    end = 0
    if ":" in text or "=" in text:
        for match in _PAIR.finditer(text):
            name, value, unit = match.group("name", "value", "unit")
            _spaced(text[end : match.start()], found)
            end = match.end()
            if "." not in value and _MORE.match(text, end):
                continue  # half a number, or a list
            if (name := _plain(name)) is not None:
                found.append((name, printed(value), unit or ""))
    _spaced(text[end:], found)
    return found


def _spaced(text: str, into: list[tuple[str, Printed, str]]) -> None:
    """Known names with nothing but a space before the value: ``lr 0.001``."""
    if len(text) > 4 and " " in text.strip():
        matches = list(_SPACED.finditer(text))
        if matches or into:
            matches = sorted([*matches, *_SHORT.finditer(text)], key=lambda m: m.start("value"))
        ends = {m.start("value"): m for m in reversed(matches)}  # one value, one name
        into += [(m["name"], printed(m["value"]), m["unit"] or "") for _, m in sorted(ends.items())]


@lru_cache(maxsize=4096)
def _plain(name: str) -> str | None:
    """The name without what is said of the place before it; None where it is a place."""
    name = _SPLITS.sub("", name.strip())
    places = ("epoch", "epochs", "iter", "iters", "iteration", "step", "global_step", "eta", "ep")
    return None if name.lower() in places else name


def _phase(head: str, pairs: list[tuple[str, Printed, str]]) -> Phase:
    if pairs and all(role(name) in ("map50", "map50_95", "map", "score") for name, _, _ in pairs):
        return "evaluation"
    before = head
    if pairs and " " in pairs[0][0] and all(_of_evaluation(name) for name, _, _ in pairs):
        return "evaluation"  # "val loss 1.3" on a line of its own
    if pairs:
        cut = head.find(pairs[0][0])
        before = head[:cut] if cut >= 0 else head
    if _TRAINING.search(before) or not _EVALUATING.search(before):
        return "train"
    return "evaluation"


def _of_evaluation(name: str) -> bool:
    return VALIDATION.search(name) is not None or role(name) not in ("term", "lr")


class PairSurvey:
    """Looks at the first lines of a file for families of pairs that repeat."""

    def __init__(self) -> None:
        self._counts: Counter[Family] = Counter()
        self._placed: Counter[Family] = Counter()
        self._first: dict[Family, list[float]] = {}
        self._varies: set[Family] = set()
        self._names: dict[Family, set[str]] = {}
        self._fractions = False
        self._points = self._decimals = 0
        self._bars = 0
        self._keras = 0
        self._yolox = 0

    def look(self, text: str) -> None:
        parsed = self._parse(text)
        if parsed is None or not parsed.pairs:
            return
        family = parsed.family
        self._counts[family] += 1
        self._fractions |= bool(parsed.place.part)
        values = [each.value for _, each, _ in parsed.pairs]
        if family not in self._first:
            if len(self._first) > 20_000:  # no two lines alike: nothing repeats here
                return
            self._first[family] = values
        elif self._first[family] != values:
            self._varies.add(family)
        self._names.setdefault(family, set()).update(name for name, _, _ in parsed.pairs)
        if is_placed(parsed.place):
            self._placed[family] += 1
        self._bars += parsed.bar is not None
        self._keras += split(text)[0].count(" - ") >= 2 and parsed.place.iterations is not None
        self._yolox += "iter_time:" in text and "data_time:" in text and "ETA:" in text

    def _parse(self, text: str) -> Parsed | None:
        """The line's pairs, its commas taken for decimals as long as the lines so far have no points."""
        if "," in text or "." in text:
            message = split(text)[0]
            self._decimals += any(not _THOUSANDS.match(m[0]) for m in _COMMA.finditer(message))
            parsed = parse(text, self._decimal_commas)
            if parsed is not None and _POINT.search(message):
                # A version's number in prose is no value.
                self._points += any(_telling(name) for name, _, _ in parsed.pairs)
        return parse(text, self._decimal_commas)

    @property
    def _decimal_commas(self) -> bool:
        """Some number with a comma is none of thousands, and none has a point."""
        return bool(self._decimals) and not self._points

    def reader(self) -> PairReader | None:
        """One that reads the families found, or None where nothing repeats."""
        placed = {
            family
            for family, count in self._placed.items()
            if count >= 2 or any(role(name) != "none" and _telling(name) for name in self._names[family])
        }
        repeated = {
            family
            for family in self._varies
            if self._counts[family] >= 3 or any(_telling(name) for name in self._names[family])
        }
        accepted = {f for f in placed if self._useful(f)}
        if accepted:
            accepted |= {f for f in repeated if self._useful(f) and any(_telling(n) for n in self._names[f])}
        else:
            # No line says where it stands: the family seen most, and others about losses and scores.
            useful = {f for f in repeated if self._useful(f)}
            telling = {f for f in useful if any(_telling(name) for name in self._names[f])}
            most = max(useful, key=lambda f: self._counts[f], default=None)
            accepted = telling or ({most} if most is not None else set())
        if not accepted or (sum(self._counts[f] for f in accepted) < 2 and not placed):
            return None
        return PairReader(accepted, self._form(), self._fractions, self._decimal_commas)

    def lines_of(self, reader: PairReader) -> int:
        """How many of the lines looked at belong to the reader's families."""
        return sum(self._counts[family] for family in reader.families)

    def _useful(self, family: Family) -> bool:
        return any(role(name) not in ("none", "memory", "seconds", "data") for name in self._names[family])

    def _form(self) -> str:
        total = sum(self._counts.values())
        if self._yolox:
            return "yolox"
        if self._bars * 2 > total or self._bars >= 5:
            return "tqdm"
        return "keras" if self._keras * 2 > total else "pairs"


def _telling(name: str) -> bool:
    return is_loss(name) or role(name) in ("map50", "map50_95", "map", "score", "lr")


class PairReader:
    """Reads the lines of the accepted families, and those that differ from them in the tail alone."""

    def __init__(self, families: set[Family], name: str, fractions: bool, commas: bool) -> None:
        """``fractions``: the file counts parts of epochs. ``commas``: they stand before its decimals."""
        self._fractions, self._commas = fractions, commas
        self.name = name
        self.families = families
        self._leading = {family[0] for family in families}
        self._context = Position()

    def read(self, text: str, line: int) -> list[Point] | None:
        parsed = parse(text, self._commas)
        if parsed is None:
            return None
        place = parsed.place
        if not parsed.pairs or not self._accepts(parsed):
            # A line of its own may say the epoch for those that follow.
            if place.epoch is not None and not parsed.pairs and place.iteration is None:
                self._context = place
            return None
        if place.epoch is None and self._context.epoch is not None:
            place.epoch, place.epochs = self._context.epoch, self._context.epochs
        point = Point(line, {}, place, parsed.phase, clock=parsed.clock)
        if self._fractions:
            point.whole_epoch = place.count_what_is_behind()
        if parsed.bar is not None:
            point.elapsed, point.update = parsed.bar.elapsed, True
        for name, value, unit in parsed.pairs:
            self._keep(point, name, value, unit)
        return [point] if point.values else None

    def finish(self) -> list[Point]:
        return []

    def _accepts(self, parsed: Parsed) -> bool:
        if parsed.family in self.families:
            return True
        return parsed.pairs[0][0] in self._leading and (is_placed(parsed.place) or len(parsed.pairs) > 1)

    def _keep(self, point: Point, name: str, value: Printed, unit: str) -> None:
        meaning = role(name)
        if meaning == "memory":
            point.memory = in_bytes(value.value, unit)
        elif meaning in ("seconds", "data") and unit == "ms":
            value = Printed(value.value / 1e3, value.half / 1e3)
        elif meaning in ("map50", "map50_95", "map") and unit == "%":
            value = Printed(value.value / 100, value.half / 100)
        if point.phase == "evaluation" and meaning == "term" and not VALIDATION.search(name):
            name = f"val/{name}"
        point.values.setdefault(name, value)
