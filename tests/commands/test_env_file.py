"""What goes into a .env is read from it again."""

import io

from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.commands.files import with_block

values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))
names = st.from_regex(r"[A-Z][A-Z0-9_]{0,10}", fullmatch=True)


def read(text: str) -> dict[str, str | None]:
    return dotenv_values(stream=io.StringIO(text), interpolate=False)


@given(st.dictionaries(names, values, min_size=1))
def test_what_is_written_is_read(variables: dict[str, str]) -> None:
    text = with_block("OLD=1", "import", variables)
    assert read(text) == {"OLD": "1", **variables}
