"""Numbers, durations, sizes and paths as text: three significant digits, one form everywhere."""

from __future__ import annotations

import math
from pathlib import Path


def digits3(value: float) -> str:
    """``4.24``, ``148``, ``0.000994``, ``1.23e-5``: three significant digits, at most eight characters.

    From 1,000 to 99,999 all digits before the point are kept: a rounded thousand reads like an exact one.
    """
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    rounded = round(value, max(0, 2 - exponent)) if -5 < exponent < 5 else value
    size = abs(rounded)
    if size >= 1e5 or size < 1e-4:
        mantissa, power = f"{value:.2e}".split("e")
        return f"{mantissa}e{int(power)}"
    exponent = math.floor(math.log10(size))
    return f"{rounded:.{max(0, 2 - exponent)}f}"


def signed(value: float) -> str:
    """``digits3`` that always carries its sign; zero has none."""
    text = digits3(value)
    return text if text.startswith("-") or value == 0 or math.isnan(value) else f"+{text}"


def duration(seconds: float) -> str:
    """``08:00``, ``1:02:03``, ``3d 04:00:00``; ``--:--`` where unknown."""
    if not math.isfinite(seconds) or seconds < 0:
        return "--:--"
    total = int(seconds)
    days, rest = divmod(total, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, second = divmod(rest, 60)
    if days:
        return f"{days}d {hours:02}:{minutes:02}:{second:02}"
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes:02}:{second:02}"


def gigabytes(size: int) -> str:
    """Bytes in the field's form: ``10.7G`` (10^9 bytes); below a tenth ``85M``."""
    return f"{size / 1e9:.3g}G" if size >= 1e8 else f"{size / 1e6:.0f}M"


def rate(per_second: float) -> str:
    """``1.50it/s``, below one a second ``1.25s/it``, as tqdm has it."""
    if not math.isfinite(per_second) or per_second <= 0:
        return "?it/s"
    return f"{per_second:.2f}it/s" if per_second >= 1 else f"{1 / per_second:.2f}s/it"


def count(number: float) -> str:
    """``41,290``; from ten million ``12.3M``."""
    return f"{number / 1e6:.3g}M" if number >= 1e7 else f"{int(number):,}"


def shorten(text: str, width: int) -> str:
    """Cut to ``width`` characters with an ellipsis that says so."""
    if len(text) <= width:
        return text
    return text[: width - 1] + "…" if width > 0 else ""


def percent(share: float) -> str:
    """``3.1%``, ``98%``: of a share 0..1 and more."""
    if not math.isfinite(share):
        return "-"
    return f"{share * 100:.1f}%" if abs(share) < 0.0995 else f"{share * 100:.0f}%"


def seconds_text(seconds: float) -> str:
    """``12.3ms``, ``1.25s``."""
    if not math.isfinite(seconds):
        return "-"
    return f"{digits3(seconds * 1e3)}ms" if abs(seconds) < 0.9995 else f"{digits3(seconds)}s"


def precision(map50: float, map50_95: float) -> str:
    """``mAP50 0.442, mAP50-95 0.232``; a log may know the first alone."""
    return f"mAP50 {digits3(map50)}" + ("" if math.isnan(map50_95) else f", mAP50-95 {digits3(map50_95)}")


def shorten_path(path: Path) -> str:
    """Relative to the current folder where it lies inside."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
