"""What logging libraries put before a message: the time, the level, the place in the code."""

from __future__ import annotations

import calendar
import re

_DATE = re.compile(
    r"^\s*\[?(?:(?P<y>\d{4})[-/](?P<m>\d\d)[-/](?P<d>\d\d)|(?P<m2>\d\d)/(?P<d2>\d\d))[ T]"
    r"(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)(?P<f>[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
)
_GLOG = re.compile(
    r"^[IWEF](?P<m>\d\d)(?P<d>\d\d) (?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)(?P<f>\.\d+)?\s+\d+ [^\]]+\] ?"
)
_LEVEL = r"(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|TRACE|SUCCESS|NOTICE)"
_REST = re.compile(
    rf"^\s*(?:\|\s*{_LEVEL}\s*\|[^|]*? - "  # loguru
    rf"|(?:- )?[\w./:-]+ - {_LEVEL} - |- {_LEVEL} - |{_LEVEL} - "  # logging, mmcv, mmengine
    rf"|[\w. ]*\]:? ?(?:\[?{_LEVEL}\]?:? ?)?"  # detectron2: [06/14 12:34:56 d2.utils.events]:
    rf"|\[?{_LEVEL}\]?:? ?)?(?:\[?[\w./-]+\.py:\d+\]?:? )?",
)
_BARE = re.compile(rf"^(?:{_LEVEL}:[\w.]+:|\[{_LEVEL}\] ?|{_LEVEL}: )")


def split(text: str) -> tuple[str, float | None]:
    """The message without what stands before it, and its time in seconds (of a year unknown: of 2000)."""
    match = _DATE.match(text)
    if match is not None:
        rest = text[match.end() :]
        after = _REST.match(rest)
        return rest[after.end() :] if after else rest, _clock(match)
    if text[:1] in "IWEF":
        match = _GLOG.match(text)
        if match is not None:
            return text[match.end() :], _clock(match)
        bare = _BARE.match(text)
        if bare is not None:
            return text[bare.end() :], None
    elif text[:1] in "[DCTSN":
        bare = _BARE.match(text)
        if bare is not None:
            return text[bare.end() :], None
    return text, None


def _clock(match: re.Match[str]) -> float | None:
    parts = match.groupdict()
    year = int(parts.get("y") or 2000)
    month, day = int(parts.get("m") or parts["m2"]), int(parts.get("d") or parts["d2"])
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        return None
    seconds = calendar.timegm((year, month, day, int(parts["H"]), int(parts["M"]), int(parts["S"])))
    fraction = parts.get("f")
    return seconds + (float("0." + fraction[1:]) if fraction else 0.0)
