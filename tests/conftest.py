"""What every test shares."""

import hypothesis
import pytest

# How fast examples come is the machine's matter: a busy one must not fail a property.
hypothesis.settings.register_profile(
    "mcproxy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("mcproxy")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that the program runs on."""
    return "asyncio", {"use_uvloop": True}
