"""A short soak: nothing piles up."""

import pytest

from bench.soak import soak

ROUNDS = 2
GROWTH_MB = 8.0  # caches and fragments; a leak of sessions or lines shows as more


@pytest.mark.requirement("upstream.no_leak")
async def test_children_descriptors_and_memory_come_back() -> None:
    soaked = await soak(rounds=ROUNDS, servers=3, calls=200)
    assert soaked.crashes == 3 * (ROUNDS + 1)
    assert soaked.after.children == soaked.before.children == 3
    assert soaked.after.descriptors <= soaked.before.descriptors
    assert soaked.after.rss_mb - soaked.before.rss_mb < GROWTH_MB
