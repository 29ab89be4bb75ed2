"""Values that have secrets do not show them."""

import pytest

import mcproxy.serve
from mcproxy.types import Caller, Claims, Discreet


def test_a_hidden_field_does_not_show() -> None:
    shown = repr(Caller("s3cret", origin="o", claims=Claims("ada", frozenset(), "s3cret")))
    assert shown.startswith("Caller(origin='o', local=True")
    assert "Claims(name='ada', scopes=frozenset())" in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize("value", Discreet.__subclasses__())
def test_what_is_hidden_is_a_field(value: type[Discreet]) -> None:
    assert mcproxy.serve.__name__  # all of a gateway are loaded
    assert value.hidden
    assert value.hidden <= set(value.__struct_fields__)
