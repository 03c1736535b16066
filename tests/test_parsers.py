"""No bytes crash a parser: what is not taken is refused in a message of at most a few lines.

`tests/fuzz/parsers.py` does the same guided by coverage, for as long as one likes.
"""

from __future__ import annotations

import string
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parsers import PARSERS, Parser, said_of
from ruamel.yaml import YAML

from eocontrast.config.params import check_params
from eocontrast.runtime.errors import UserError

EXAMPLES = 60
"""A parser in every test; params.yaml's takes 0.1 s each."""

tried = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,  # the same in every run
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
by_parser = pytest.mark.parametrize("name", PARSERS)


def check(parser: Parser, content: bytes, folder: Path) -> None:
    said = said_of(parser, content, folder)
    if said is not None:
        assert said
        assert len(said) < 5000
        assert "Traceback" not in said


@by_parser
def test_a_valid_file_is_taken(name: str, tmp_path: Path) -> None:
    assert said_of(PARSERS[name], PARSERS[name].valid, tmp_path) is None


@by_parser
@tried
@given(content=st.binary(max_size=300))
def test_any_bytes(name: str, tmp_path: Path, content: bytes) -> None:
    check(PARSERS[name], content, tmp_path)


@by_parser
@tried
@given(text=st.text(st.sampled_from(string.printable + "é\u2028\ufeff\x00"), max_size=200))
def test_any_text(name: str, tmp_path: Path, text: str) -> None:
    check(PARSERS[name], text.encode(), tmp_path)


@by_parser
@tried
@given(data=st.data())
def test_a_valid_file_with_a_piece_replaced(name: str, tmp_path: Path, data: st.DataObject) -> None:
    valid = PARSERS[name].valid
    start = data.draw(st.integers(0, len(valid)))
    end = data.draw(st.integers(start, min(len(valid), start + 40)))
    piece = data.draw(
        st.binary(max_size=20) | st.sampled_from([b"", b'"', b"\n", b"-1", b"{", b","])
    )
    check(PARSERS[name], valid[:start] + piece + valid[end:], tmp_path)


COMMITTED = YAML(typ="safe").load(PARSERS["params"].valid)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@tried
@given(value=JSON, data=st.data())
def test_any_value_at_any_key_of_params(tmp_path: Path, value: object, data: st.DataObject) -> None:
    raw = place = deepcopy(COMMITTED)
    while isinstance(place, dict) and place:
        parent, key = place, data.draw(st.sampled_from(sorted(place, key=str)))
        place = place[key]
        if data.draw(st.booleans()):
            break
    parent[key] = value
    with suppress(UserError):
        check_params(raw)
