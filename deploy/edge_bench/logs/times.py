"""Time stamps of logs as seconds."""

import calendar
import datetime
import re
from typing import Optional

_OWN = re.compile(r"([0-9]{2})-([0-9]{2})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2})\Z")
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):?([0-9]{2}))?\Z"
)


def seconds_of(timestamp: Optional[str]) -> Optional[float]:
    """Seconds since 1970 of a stamp that parse_line gives, for differences: one without a zone is taken as UTC.

    None for no stamp, and for one that is no time, as the 31st of February.
    """
    own = _OWN.match(timestamp or "")
    if own:
        month, day, year, hour, minute, second = map(int, own.groups())
        return _seconds(year, month, day, hour, minute, second)
    iso = _ISO.match(timestamp or "")
    if not iso:
        return None
    whole = _seconds(*map(int, iso.groups()[:6]))
    fraction, sign, hours, minutes = iso.groups()[6:]
    if whole is None:
        return None
    offset = (int(hours) * 3600 + int(minutes) * 60) * (1 if sign == "+" else -1) if sign else 0
    return whole + float("0." + (fraction or "0")) - offset


def _seconds(year: int, month: int, day: int, hour: int, minute: int, second: int) -> Optional[float]:
    try:
        return float(calendar.timegm(datetime.datetime(year, month, day, hour, minute, second).timetuple()))
    except (ValueError, OverflowError):
        return None
