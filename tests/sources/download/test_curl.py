import pytest

from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.curl import Request, without_credentials


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ftp://user:pw@host/a.tar.gz", "ftp://host/a.tar.gz"),
        ("ftp://user:p%40w@host:21/a", "ftp://host:21/a"),
        ("ftp://user:p@w@host/a@b", "ftp://host/a@b"),
        ("https://host/a?signature=pw#b", "https://host/a"),
        ("https://[::1]:80/a", "https://[::1]:80/a"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/hostname", "rotocol"),
        ("scp://user:secret@127.0.0.1/a", "rotocol"),
        ("http://user:secret@127.0.0.1:x/a", "ort"),
        ("http://user:secret@nowhere.invalid/a", "resolve"),
    ],
)
def test_what_no_attempt_will_mend_is_said_at_once(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy in ("http_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with pytest.raises(UserError, match=f"is not to be had .*{reason}.*check the address") as why:
        list(Request(url, 0, stall=5).chunks())
    assert "secret" not in str(why.value)
