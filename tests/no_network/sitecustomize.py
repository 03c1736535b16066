"""Python imports this at its start where this folder is on its path: a machine without a network.

This machine itself stays within reach. What was tried is told in the file that `NETWORK_TRIED`
names, for a program may well hide that it got no answer.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

_INTERNET = (socket.AF_INET, socket.AF_INET6)


def _refuse_others(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    if name.startswith("127.") or name in ("localhost", "::1", "0.0.0.0", "::"):  # nosec B104
        return
    with open(os.environ["NETWORK_TRIED"], "a") as file:
        file.write(f"{name}\n")
    raise socket.gaierror(f"there is no network, nor {name}")


def _near(inner: Callable[..., Any]) -> Callable[..., Any]:
    def connect(own: socket.socket, address: Any) -> Any:  # noqa: ANN401 - as Python declares it
        if own.family in _INTERNET:
            _refuse_others(address[0])
        return inner(own, address)

    return connect


def _resolved_near(inner: Callable[..., Any]) -> Callable[..., Any]:
    def getaddrinfo(host: object, *rest: Any, **more: Any) -> Any:  # noqa: ANN401 - the same
        _refuse_others(host)
        return inner(host, *rest, **more)

    return getaddrinfo


socket.socket.connect = _near(socket.socket.connect)  # type: ignore[method-assign]
socket.socket.connect_ex = _near(socket.socket.connect_ex)  # type: ignore[method-assign]
socket.getaddrinfo = _resolved_near(socket.getaddrinfo)
