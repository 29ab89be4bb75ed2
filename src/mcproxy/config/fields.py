"""The kinds of values that sections are made of: names, times, paths, and how one is refused.

Knows no section. A refusal carries its hint separately, so that all problems read the same.
"""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

# A week: more is a slip of units, and would overflow timers further on.
MAX_SECS = 7 * 24 * 3600

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
MAX_NAME_CHARS = 64

T = TypeVar("T")


class Section(BaseModel):
    """A part of the configuration: never changed once read, no key unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def refusal(message: str, hint: str = "") -> PydanticCustomError:
    """The error with which a validator refuses a value."""
    return PydanticCustomError("refused", "{message}", {"message": message, "hint": hint})


def no_boolean(value: T) -> T:
    """Let a boolean not pass for the number 0 or 1."""
    if isinstance(value, bool):
        raise refusal("must be a number, found a boolean")
    return value


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise refusal(f"{path!r} is not an absolute path", "write it from the root, without '..'")
    return path.rstrip("/") or "/"


Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MAX_NAME_CHARS)]
Text = Annotated[str, Field(min_length=1)]
# The bounds stand before the validator: behind it the JSON Schema would not have them.
Seconds = Annotated[float, Field(gt=0, le=MAX_SECS), BeforeValidator(no_boolean)]
Pause = Annotated[float, Field(ge=0, le=MAX_SECS), BeforeValidator(no_boolean)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
