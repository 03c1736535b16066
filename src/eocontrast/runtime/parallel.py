"""Calls that run in parallel: in processes or threads of this machine, or on a Dask cluster."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path
from threading import RLock, Thread
from typing import Any, Literal, TypeVar

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky import process_executor

from eocontrast.runtime.errors import UserError

Result = TypeVar("Result")
Calls = Sequence[tuple[Any, ...]]

SCHEDULER = "DASK_SCHEDULER_ADDRESS"

_alone = RLock()
"""Lets one call run at a time: threads of a Dask worker share torch's seed and the folder."""

_running: list[Generator[Any]] = []
"""Results of the calls that use the worker processes now: all calls share them."""


def parallel_map(
    function: Callable[..., Result],
    calls: Calls,
    workers: int | None = None,
    kind: Literal["processes", "threads"] = "processes",
) -> Iterator[Result]:
    """Yield the results of `function` for the arguments of each call, in order.

    Results do not depend on the number of workers: in processes, torch uses one thread per call.
    If the generator is closed early, the processes are killed.

    Args:
        function: Function of a module; it is pickled, like arguments and results.
        calls: Positional arguments. A Dask cluster repeats a call if its worker dies.
        workers: Number of workers, by default one per core; 1 makes the calls in this process.
        kind: Threads suit calls that only read files or hash them. Processes run on the cluster
            that `DASK_SCHEDULER_ADDRESS` names, if it is set; `workers` is ignored then.

    Raises:
        UserError: no Dask scheduler answers.
        BrokenExecutor: a worker process was killed.
        RuntimeError: a call or its result cannot be unpickled, or a later call took the worker
            processes before this one was done.
    """
    if kind == "threads":
        options: dict[str, Any] = {"backend": "threading"}
    elif calls and (address := os.environ.get(SCHEDULER)):
        yield from _on_cluster(address, partial(_call, Path.cwd(), function), calls)
        return
    else:
        # joblib's "multiprocessing" starts sooner, but waits forever for a worker that was killed
        options = {"backend": "loky", "initializer": _follow, "initargs": (os.getpid(),)}
        function = partial(_call, Path.cwd(), function)
        # an error leaves results behind. Collected later, they would kill the workers of this call
        while _running:
            _close(_running.pop())
    run = Parallel(min(len(calls), workers or cpu_count()) or 1, return_as="generator", **options)
    with _unpickling():
        # inside, since this hands out the first calls, and fails if one has broken the workers
        results = run(delayed(function)(*call) for call in calls)
        if kind == "processes":
            _running.append(results)
        done = 0
        try:
            for done, result in enumerate(results, start=1):  # noqa: B007 - counted for the check
                yield result
            if done < len(calls):  # a closed generator ends without an error
                given = f"{done} of {len(calls)} results"
                raise RuntimeError(f"a later call stopped this one after {given}")
        finally:
            _close(results)
            if results in _running:
                _running.remove(results)


@contextmanager
def _unpickling() -> Iterator[None]:
    """Name the error of a call that a worker could not unpickle.

    Raises:
        RuntimeError: a call or its result cannot be unpickled.
    """
    try:
        yield
    except BrokenExecutor as error:
        # loky marks such a call like a worker that died, but with a cause: the text of the worker's
        # traceback
        if (cause := error.__cause__) is None:
            raise
        reason = str(cause).strip('"\n').splitlines()[-1]
        raise RuntimeError(f"a call or its result cannot be unpickled: {reason}") from cause


def _close(results: Generator[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about results that were not used
        results.close()


def workers_for_models() -> int | None:
    """Return 1 if there is a GPU, which models would have to share, and None otherwise."""
    import torch  # takes two seconds; not every caller of this module needs it

    return 1 if torch.cuda.is_available() else None


def _call(folder: Path, function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in the caller's folder, with one thread of torch."""
    with _alone, chdir(folder):
        torch: Any = sys.modules.get("torch")
        if torch is None:
            return function(*arguments)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function(*arguments)
        finally:
            torch.set_num_threads(threads)


def _follow(parent: int) -> None:
    """End this worker with its parent, which alone reacts to signals."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # torch keeps memory that it freed. loky would take that for a leak and renew the worker, at 4 s
    # each; without psutil it would collect garbage once a second, which takes 0.3 s with timm
    process_executor._MEMORY_LEAK_CHECK_DELAY = math.inf

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _on_cluster(address: str, function: Callable[..., Result], calls: Calls) -> Iterator[Result]:
    # not joblib's "dask" (1.6): it waits forever for a call that its workers died of
    from distributed import Client  # takes a second
    from distributed.comm.core import connect
    from distributed.security import Security

    async def ask() -> None:
        secured = Security().get_connection_args("client")  # as a Client does, by Dask's settings
        await (await connect(address, **secured)).close()

    # a Client that fails to connect leaves its thread behind, which can block the next one for ever
    # (distributed 2026.8): so ask first
    try:
        asyncio.run(ask())
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Dask scheduler answers at {address} ({error}), which {SCHEDULER} names: start one "
            "there, or unset the variable to run on this machine"
        ) from error
    with Client(address, set_as_default=False) as client:
        if not client.nthreads():
            print(f"{address} has no workers yet: waiting for some", file=sys.stderr)
        for future in [client.submit(function, *call, pure=False) for call in calls]:
            yield future.result()
