"""Numbers as people read them. Pure."""

from datetime import UTC, datetime

UNKNOWN = "-"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration(ms: float | None) -> str:
    """A time that something took, from milliseconds."""
    if ms is None:
        return UNKNOWN
    secs = ms / 1000
    if secs < 1:
        return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"
    if secs < _HOUR:
        minutes = f"{secs // _MINUTE:.0f} min "
        return f"{minutes}{secs % _MINUTE:02.0f} s" if secs >= _MINUTE else f"{secs:.1f} s"
    if secs < _DAY:
        return f"{secs // _HOUR:.0f} h {secs % _HOUR // _MINUTE:02.0f} min"
    return f"{secs // _DAY:.0f} d {secs % _DAY // _HOUR:.0f} h"


def size(mb: float | None) -> str:
    """Memory, from MiB."""
    if mb is None:
        return UNKNOWN
    return f"{mb:.0f} MiB" if mb < 10_240 else f"{mb / 1024:.1f} GiB"


def count(number: float) -> str:
    """A number with thin spaces between its thousands."""
    return f"{number:,.0f}".replace(",", "\u2009")


def when(unix_secs: float) -> str:
    """A moment as ``<time datetime>`` has it; the page says how long ago that was."""
    return datetime.fromtimestamp(unix_secs, UTC).isoformat(timespec="seconds")
