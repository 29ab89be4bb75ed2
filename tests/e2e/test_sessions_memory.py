"""A short run of the bench of abandoned sessions: their memory comes back."""

import pytest

from bench.sessions import abandon

SESSIONS = 1000
GROWTH_MB = 8.0  # fragments; replies that stay with their dead sessions are 15 MiB a round


@pytest.mark.timeout(240)
@pytest.mark.requirement("sessions.memory")
async def test_a_thousand_abandoned_sessions_cost_nothing_after_their_end() -> None:
    _, (warm, again) = await abandon(rounds=2, sessions=SESSIONS, lives_secs=5)
    assert again.ended - warm.ended < GROWTH_MB
