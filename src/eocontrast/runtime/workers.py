"""Work spread over processes or machines by Dask.

A local cluster by default; any other by its address in `DASK_SCHEDULER_ADDRESS`, or wherever else
Dask's own configuration has `scheduler-address`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import dask
from distributed import Client, as_completed

from eocontrast.runtime.errors import UserError

Found = TypeVar("Found")

_KEPT = 16 * 2**20
"""Bytes of freed memory that a worker keeps, and the largest piece that it takes from them.

Dask has workers give back all but 64 KiB, and then nearly half of their time goes into pages that
the system clears anew for every raster.
"""


def spread(
    function: Callable[..., Found], calls: Sequence[tuple[Any, ...]], workers: int | None = None
) -> Iterator[Found]:
    """Results of `function` for the arguments of every call, as they come.

    A call whose worker dies is made again elsewhere, so it must not mind having been made before.

    Args:
        function: may be sent to another machine, like arguments and results.
        calls: positional arguments.
        workers: local processes, one a core where None; 1 makes the calls here. A cluster that
            Dask's configuration names is used whatever this says.

    Raises:
        UserError: no scheduler answers at the address that Dask's configuration names.
    """
    elsewhere: str | None = dask.config.get("scheduler-address", None)
    if elsewhere is None and (workers == 1 or len(calls) < 2):
        yield from (function(*call) for call in calls)
        return
    with _client(elsewhere, workers) as client:
        futures = [client.submit(function, *call, pure=False) for call in calls]
        for future in as_completed(futures):
            yield future.result()
            future.release()


@contextmanager
def _client(elsewhere: str | None, workers: int | None) -> Iterator[Client]:
    if elsewhere is not None:
        with _connected(elsewhere) as client:
            if not client.nthreads():
                print(f"{elsewhere} has no workers yet: waiting for some", file=sys.stderr)
            yield client
        return
    # processes, because opening a small raster is a millisecond that holds the interpreter's lock
    local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    # any free port: two runs at once need not warn each other
    ports = {"scheduler_kwargs": {"dashboard_address": ":0"}}
    environ = "distributed.nanny.pre-spawn-environ"
    memory = {f"{environ}.MALLOC_{which}_THRESHOLD_": _KEPT for which in ("TRIM", "MMAP")}
    with (
        dask.config.set(memory),
        Client(processes=True, silence_logs=logging.ERROR, **local, **ports) as client,
    ):
        yield client


def _connected(address: str) -> Client:
    try:
        return Client(address)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Dask scheduler answers at {address} ({error}), which DASK_SCHEDULER_ADDRESS or "
            "Dask's configuration names: start one there, or unset it to read on this machine"
        ) from error
