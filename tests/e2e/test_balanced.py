"""Clients of both eras before nginx and two gateways, while gateways and their store are replaced.

What is done, and what is counted, is the bench's (``bench/scale.py``), in short.
"""

from pathlib import Path

import pytest

from bench.scale import NGINX, Plan, measured
from bench.scale_clients import ANSWERED
from tests.shared_state import NEEDED

pytestmark = [NEEDED, pytest.mark.skipif(NGINX is None, reason="no nginx is here")]

SHORT = Plan(replaced=2, away_secs=(0.5,), clients=1, between_secs=1.0)


@pytest.mark.requirement("state.balanced")
async def test_nothing_acknowledged_is_lost_while_gateways_and_store_are_replaced(
    tmp_path: Path,
) -> None:
    seen = await measured(SHORT, tmp_path)
    assert (seen.killed, seen.stopped) == (1, 1)
    assert seen.lost == 0, seen.account.examples
    assert seen.twice == 0
    assert len(seen.limited) <= seen.allowed
    assert not seen.complaints
    for kind, ended in seen.account.ended.items():
        assert ended[ANSWERED], (kind, ended)
