import json
from pathlib import Path

import pytest

from eocontrast.runtime.sealed import read_sealed, write_sealed

CONTENT = {"b": [1, 0.1, None, "ä"], "a": {"nested": True}, "files": {}}


def test_content_comes_back_in_its_order_and_equal_content_gives_equal_bytes(
    tmp_path: Path,
) -> None:
    for name in ("one.json", "two.json"):
        write_sealed(tmp_path / name, CONTENT)
    assert list(read_sealed(tmp_path / "one.json").items()) == list(CONTENT.items())
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, CONTENT)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(ValueError, match=r"."):
                read_sealed(path)


@pytest.mark.parametrize("text", ["[]", "null", "{}", json.dumps(CONTENT)])
def test_what_was_never_sealed_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match="does not end with the sha256"):
        read_sealed(tmp_path / "a.json")
