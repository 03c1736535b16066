"""Servers on this machine, which cut connections as those far away do."""

import threading
from pathlib import Path

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer


class FtpServer:
    """Serves a folder to m1474000:secret; each of `cuts` is how many bytes a connection sends."""

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
