"""FTP and HTTP servers on this machine that cut connections on request."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that no other program is given, and on which one that names it can listen."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class FtpServer:
    """An FTP server of a folder; `cuts` are the bytes that each next connection sends."""

    def __init__(self, folder: Path) -> None:
        self.sent, self.logins = 0, 0
        self.cuts: list[int] = []
        authorizer = DummyAuthorizer()
        authorizer.add_user("m1474000", "secret", str(folder), perm="elr")
        state = self

        class Data(DTPHandler):  # type: ignore[misc]  # it has no types
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments)
                self.left = state.cuts.pop(0) if state.cuts else None

            def send(self, data: bytes) -> int:
                if self.left == 0:
                    self.close()
                    return 0
                count = int(super().send(data[: self.left]))
                state.sent += count
                self.left = None if self.left is None else self.left - count
                return count

        class Control(FTPHandler):  # type: ignore[misc]
            dtp_handler, use_sendfile, auth_failed_timeout = Data, False, 0

            def on_connect(self) -> None:
                state.logins += 1

        Control.authorizer = authorizer
        self.loop = IOLoop()
        self.server = FTPServer(("127.0.0.1", 0), Control, ioloop=self.loop)
        self.url = f"ftp://m1474000:secret@127.0.0.1:{self.server.address[1]}"
        self.running = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while self.running:
            self.loop.loop(timeout=0.02, blocking=False)
        self.server.close_all()

    def stop(self) -> None:
        self.running = False
        self.thread.join()


class _HttpHandler(BaseHTTPRequestHandler):
    server: "HttpServer"

    def do_HEAD(self) -> None:
        self.server.headed.append(self.path)
        if self.server.refusals:
            self.send_error(self.server.refusals.pop(0))
        elif self.path not in self.server.files:
            self.send_error(404)
        else:
            self.send_response(200)
            if self.path in self.server.etags:
                self.send_header("X-Linked-Etag", self.server.etags[self.path])
            self.end_headers()

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.refusals:
            self.send_error(self.server.refusals.pop(0))
        elif self.path in self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved[self.path])
            self.end_headers()
        elif asked and self.server.ranges == "refused":
            self.send_error(416)
        elif self.path.partition("?")[0] not in self.server.files:
            self.send_error(404)
        else:
            whole = asked is None or self.server.ranges == "unknown"
            self.send_from(0 if whole else int(str(asked)[len("bytes=") :].rstrip("-")), whole)

    def send_from(self, start: int, whole: bool) -> None:
        content = self.server.files[self.path.partition("?")[0]]
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(200 if whole else 206)
        if self.server.sizes:
            self.send_header("Content-Length", str(len(content) - start))
        if not whole:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = self.server.ends.pop(0) if self.server.ends else len(content)
        self.server.sent += max(end - start, 0)
        self.wfile.write(content[start:end])
        self.server.after()

    def log_message(self, *_: object) -> None:
        """Quiet."""


class HttpServer(ThreadingHTTPServer):
    """An HTTP server of bytes by path; `ends` are the offsets at which next connections end.

    With a context it is an HTTPS server.
    """

    def __init__(
        self, files: dict[str, bytes], port: int = 0, context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(("127.0.0.1", port), _HttpHandler)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.files, self.ranges, self.sizes, self.sent = files, "known", True, 0
        self.asked: list[str | None] = []
        self.headed: list[str] = []
        self.etags: dict[str, str] = {}
        self.refusals: list[int] = []
        self.moved: dict[str, str] = {}
        self.ends: list[int] = []
        self.after: Callable[[], object] = lambda: None
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
