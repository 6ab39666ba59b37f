"""Where tiles are computed: threads of this process, worker processes on this machine, or a Dask cluster."""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, lru_cache
from itertools import islice
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import torch
from threadpoolctl import threadpool_limits

from qworkbench.errors import require

THREADS, LOCAL = "threads", "dask"
"""Names that stand for no URL."""
SCHEMES = ("tcp://", "tls://", "ucx://", "ws://", "wss://", "inproc://")
ROUNDS = 6
"""How often a task is handed to Dask again after it went down with four workers (Dask's ``allowed-failures``)."""
CONNECT_SECONDS = 30
PROBE_SECONDS = 1
"""The longest that reaching a worker may take for results to be fetched there."""

T = TypeVar("T")
R = TypeVar("R")


class Workers(Protocol):
    """Computes tasks in any order; a context manager while they are at hand."""

    def map_unordered(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Each task with its result as it is done; few are under way at a time, so memory stays bounded."""
        ...


def open_workers(scheduler: str | None, n_workers: int | None) -> AbstractContextManager[Workers]:
    """The workers that ``scheduler`` names.

    Args:
        scheduler: ``"threads"`` (also None), ``"dask"`` for worker processes on this machine, which listen on
            loopback and speak TLS with keys made for this one run, or the URL of a running Dask scheduler.
        n_workers: How many threads or processes; by default one a core. A cluster has its own number.

    Raises:
        ValueError: If ``scheduler`` is none of these, or the number does not fit.
        MissingExtraError: If Dask is not installed.
    """
    if n_workers is not None and (not isinstance(n_workers, int) or n_workers < 1):
        raise ValueError(f"expected at least 1 worker, got {n_workers!r}")
    if scheduler in (None, THREADS):
        return _threads(n_workers or cores())
    if scheduler == LOCAL:
        return _local_cluster(n_workers or cores())
    if not isinstance(scheduler, str) or not scheduler.startswith(SCHEMES):
        raise ValueError(
            f"expected a scheduler {THREADS!r}, {LOCAL!r} or a URL such as 'tcp://host:8786', got {scheduler!r}"
        )
    if n_workers is not None:
        raise ValueError("expected no number of workers with the URL of a scheduler, whose cluster has its own")
    return _cluster(scheduler)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _threads(n_workers: int) -> Iterator[Workers]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), ThreadPoolExecutor(n_workers, "tile") as pool:
            try:
                yield ThreadWorkers(pool, n_workers)
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        torch.set_num_threads(before)


class ThreadWorkers:
    """Threads of this process: the numerical kernels run outside Python's lock."""

    def __init__(self, pool: ThreadPoolExecutor, n_workers: int) -> None:
        self._pool, self._n_workers = pool, n_workers

    def map_unordered(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R]]:
        """See ``Workers``."""
        waiting = iter(tasks)
        running: dict[Future[R], T] = {self._pool.submit(work, task): task for task in islice(waiting, self._n_workers)}
        while running:
            done = next(iter(wait(running, return_when=FIRST_COMPLETED).done))
            task = running.pop(done)
            running |= {self._pool.submit(work, following): following for following in islice(waiting, 1)}
            yield task, done.result()


@contextmanager
def _local_cluster(n_workers: int) -> Iterator[Workers]:
    distributed = _distributed()
    logging.getLogger("distributed").setLevel(logging.ERROR)  # a worker that died is news to nobody: it is replaced
    with ExitStack() as stack:
        cluster = distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            security=distributed.Security.temporary(),
            protocol="tls",
        )
        stack.enter_context(cluster)
        yield DaskWorkers(stack.enter_context(distributed.Client(cluster, direct_to_workers=True)))


@contextmanager
def _cluster(url: str) -> Iterator[Workers]:
    distributed = _distributed()
    try:
        client = distributed.Client(url, timeout=CONNECT_SECONDS)
    except OSError as error:
        raise ConnectionError(f"no Dask scheduler answers at {url}: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError:
            raise ConnectionError(
                f"the Dask scheduler at {url} has no workers; start some: dask worker {url}"
            ) from None
        client.direct_to_workers = _reachable(client)
        yield DaskWorkers(client)


def _reachable(client: Any) -> bool:
    """Whether results can be fetched from the workers themselves: by way of the scheduler each is copied twice."""
    addresses = [urlsplit(address) for address in client.nthreads()]
    try:
        for address in addresses:
            with socket.create_connection((address.hostname, address.port), PROBE_SECONDS):
                pass
    except (OSError, ValueError):  # another network, or one that killed it is not there any more
        return False
    return all(address.scheme in ("tcp", "tls") for address in addresses)


def _distributed() -> Any:
    return require("distributed", "dask", "computing on Dask")


class DaskWorkers:
    """A Dask cluster. Tasks on a worker that dies are computed again by another one."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def map_unordered(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R]]:
        """See ``Workers``."""
        distributed, cloudpickle = _distributed(), require("cloudpickle", "dask", "computing on Dask")
        waiting, running = iter(tasks), {}
        finished = distributed.as_completed()
        # As bytes: a class that a worker lacks is then an error of the task; Dask itself would wait for ever.
        pickled = cloudpickle.dumps(work)

        def submit(task: Any, failed: int) -> None:
            future = self._client.submit(_alone, pickled, cloudpickle.dumps(task), pure=False)
            running[future] = (task, failed)
            finished.add(future)

        for task in islice(waiting, self._window()):
            submit(task, 0)
        for future in finished:
            task, failed = running.pop(future)
            try:
                result = future.result()
            except distributed.KilledWorker as error:
                if failed == ROUNDS:
                    raise RuntimeError(
                        f"a task went down with its worker {4 * (ROUNDS + 1)} times; if memory is short, "
                        f"take smaller tiles ({error})"
                    ) from None
                submit(task, failed + 1)
                continue
            except (distributed.CancelledError, distributed.comm.CommClosedError) as error:
                raise ConnectionError(f"the Dask scheduler is gone: {error}") from None
            future.release()
            for following in islice(waiting, 1):
                submit(following, 0)
            yield task, result

    def _window(self) -> int:
        """Twice as many tasks as there are threads: nobody waits for work, and few results wait for us."""
        return 2 * max(1, sum(self._client.nthreads().values()))


@cache
def _one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


@lru_cache(maxsize=1)
def _unpickled(work: bytes) -> Any:
    """The same object for the same bytes: what it opened for the last task is at hand for the next."""
    return pickle.loads(work)


def _alone(work: bytes, task: bytes) -> Any:
    """Do pickled work on its pickled task, on one thread: the number of threads would show in the last bits."""
    _one_thread()
    return _unpickled(work)(pickle.loads(task))
