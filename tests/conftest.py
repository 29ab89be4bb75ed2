"""What every test shares."""

import pytest


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that the program runs on."""
    return "asyncio", {"use_uvloop": True}
