"""A STAC API and a server of COGs on this machine, which fail at times."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import shapely
import uvicorn
from stac_fastapi.api.app import StacApi
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.core import BaseCoreClient
from stac_fastapi.types.errors import NotFoundError

_NUMBERS = itertools.count()


class FileServer(ThreadingHTTPServer):
    """Serves a folder with ranges; `trouble` returns a fault for the number of a request.

    Faults are a status such as 503, or `cut` for a connection that ends early.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.count = folder, 0
        self.trouble: Callable[[int], int | str | None] = lambda number: None
        # ports come back, and GDAL keeps what it has read from an address
        self.root = f"/{next(_NUMBERS)}"
        self.url = f"http://127.0.0.1:{self.server_port}{self.root}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        self.server.count += 1
        fault = self.server.trouble(self.server.count)
        path = self.server.folder / self.path.removeprefix(self.server.root).lstrip("/")
        if isinstance(fault, int) or not path.is_file():
            self.send_error(fault if isinstance(fault, int) else 404)
            return
        size = path.stat().st_size
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(match[1]) if match else 0
        last = min(int(match[2] or size) if match else size, size - 1)
        self.send_response(206 if match else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if match:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if not body:
            return
        with path.open("rb") as file:
            file.seek(first)
            content = file.read(last - first + 1)
        cut = fault == "cut"
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: object) -> None:
        """Quiet."""


class _Core(BaseCoreClient):
    """Searches a list of items by collection, geometry and time."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        super().__init__()
        self.items, self.searches = items, 0
        self.collections: dict[str, dict[str, Any]] = {}

    def post_search(self, search_request: Any, **_: object) -> Any:  # noqa: ANN401
        self.searches += 1
        area = shapely.geometry.shape(search_request.intersects.model_dump())
        first, last = (search_request.datetime or "0/9").split("/")
        found = [
            item
            for item in self.items
            if item["collection"] in search_request.collections
            and first <= (item["properties"]["datetime"] or "5") <= last
            and shapely.geometry.shape(item["geometry"]).intersects(area)
        ]
        return {"type": "FeatureCollection", "features": found, "links": []}

    def get_search(self, *_: object, **__: object) -> Any:  # noqa: ANN401
        raise NotImplementedError

    def all_collections(self, **_: object) -> Any:  # noqa: ANN401
        return {"collections": [], "links": []}

    def get_collection(self, collection_id: str, **_: object) -> Any:  # noqa: ANN401
        if collection_id not in self.collections:
            raise NotFoundError(collection_id)
        return self.collections[collection_id]

    def get_item(self, item_id: str, collection_id: str, **_: object) -> Any:  # noqa: ANN401
        raise NotFoundError(item_id)

    def item_collection(self, collection_id: str, *_: object, **__: object) -> Any:  # noqa: ANN401
        raise NotFoundError(collection_id)


class StacServer:
    """stac-fastapi over a list of items, which may grow."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.core = _Core(items)
        settings = ApiSettings(stac_fastapi_title="simulated", stac_fastapi_landing_id="simulated")
        app = StacApi(settings=settings, client=self.core, extensions=[]).app
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
