"""Every parser of hostile bytes gives a value or its own refusal, in time, whatever comes."""

import itertools
import random

import pytest

from tests.fuzzing import PARSERS, inputs, tried

INPUTS = 1_000


@pytest.mark.requirement("security.fuzzed")
@pytest.mark.parametrize("name", PARSERS)
def test_changed_inputs(name: str) -> None:
    parser = PARSERS[name]
    changed = inputs(parser.seeds, random.Random(name))  # noqa: S311
    outcomes = {tried(parser, data) for data in itertools.islice(changed, INPUTS)}
    assert "read" in outcomes
