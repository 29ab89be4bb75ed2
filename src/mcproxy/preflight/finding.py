"""What a script's reading finds: the values between its parts."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """What does not work. ``certain`` False: only where the script gets there, and then it may be
    ready for that."""

    line: int
    message: str
    advice: str = ""
    certain: bool = True
