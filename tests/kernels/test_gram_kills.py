"""Real processes, really killed: no finished tile is lost and the matrix is the same to the last bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import distributed
import numpy as np
import pytest

from circuits import zz_feature_map
from qworkbench import QuantumKernel, gram_matrix
from qworkbench.kernels import workers
from qworkbench.kernels.ledger import MATRIX
from qworkbench.kernels.tiles import array_digest
from qworkbench.runs import RECORDS, read_records

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import numpy as np
from circuits import zz_feature_map
from qworkbench import QuantumKernel, gram_matrix

if __name__ == "__main__":
    out, scheduler, n_rows, tile = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    X = np.random.default_rng(5).uniform(-1, 1, (n_rows, 6))
    kernel = QuantumKernel(zz_feature_map(6), "aer?shots=20&seed=3")
    gram_matrix(kernel, X, out=out, scheduler=scheduler, tile=tile)
"""
"""Sampled, so that a tile with another seed would show; by Aer, so that a tile takes a while."""
N_ROWS, TILE = 60, 10
N_TILES = 21


def driver(out: Path, scheduler: str, n_rows: int = N_ROWS, tile: int = TILE) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", SCRIPT, str(out), scheduler, str(n_rows), str(tile)]
    return subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL)


def n_finished(out: Path) -> int:
    file = out / RECORDS
    return file.read_bytes().count(b'"kind":"tile"') if file.exists() else 0


def wait_until_finished(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 600
    while n_finished(out) < count:
        assert time.monotonic() < deadline
        assert process.poll() is None, "the driver ended by itself"
        time.sleep(0.005)


def undisturbed(n_rows: int = N_ROWS, tile: int = TILE) -> str:
    rows = np.random.default_rng(5).uniform(-1, 1, (n_rows, 6))
    return array_digest(gram_matrix(QuantumKernel(zz_feature_map(6), "aer?shots=20&seed=3"), rows, tile=tile))


def killed_and_resumed(out: Path, scheduler: str, after: list[int], n_rows: int = N_ROWS, tile: int = TILE) -> None:
    """SIGKILL the driver whenever so many tiles are done, then let it end; each tile must be computed just once."""
    kept: dict[str, Any] = {}
    for count in after:
        process = driver(out, scheduler, n_rows, tile)
        try:
            wait_until_finished(out, count, process)
        finally:
            process.kill()
            process.wait(10)
        now = {key: record for key, record in read_records(out).items() if record.kind == "tile"}
        assert len(now) >= count and kept.items() <= now.items()
        kept = now
    with driver(out, scheduler, n_rows, tile) as process:
        assert process.wait(300) == 0
    records = read_records(out)
    assert all(records[key] == record for key, record in kept.items())
    n_blocks = -(-n_rows // tile)
    assert n_finished(out) == n_blocks * (n_blocks + 1) // 2
    assert array_digest(np.load(out / MATRIX)) == undisturbed(n_rows, tile)


def test_a_killed_driver_goes_on(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, "threads", [1, 8, 20])


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    """Two worker processes; what is killed comes back."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as made:
        yield made


def worker_pids(cluster: distributed.LocalCluster) -> list[int]:
    """Of workers that have started: a nanny gives its worker up if that dies before it has."""
    known = {state.pid for state in list(cluster.scheduler.workers.values())}
    nannies = [nanny for nanny in cluster.workers.values() if nanny.status == distributed.Status.running]
    return [nanny.pid for nanny in nannies if nanny.pid in known]


def kill_workers(cluster: distributed.LocalCluster, times: int, pause: float, work: Callable[[], Any]) -> int:
    """Run ``work`` and meanwhile SIGKILL a random worker up to ``times`` times."""
    rng, over, kills = random.Random(7), threading.Event(), 0

    def reaper() -> None:
        nonlocal kills
        while kills < times and not over.wait(pause * rng.uniform(0.5, 1.5)):
            pids = worker_pids(cluster)
            if pids:
                os.kill(rng.choice(pids), signal.SIGKILL)
                kills += 1

    thread = threading.Thread(target=reaper)
    thread.start()
    try:
        work()
    finally:
        over.set()
        thread.join(10)
    return kills


def test_killed_workers_and_drivers_lose_nothing(cluster: distributed.LocalCluster, tmp_path: Path) -> None:
    url = cluster.scheduler_address
    kills = kill_workers(cluster, 2, 1.0, lambda: killed_and_resumed(tmp_path, url, [3]))
    assert kills == 2


def test_the_matrix_does_not_depend_on_who_computes_it(cluster: distributed.LocalCluster) -> None:
    rows = np.random.default_rng(1).uniform(-1, 1, (300, 8))
    kernel = QuantumKernel(zz_feature_map(8))
    here = gram_matrix(kernel, rows, tile=90, workers=2)
    there = gram_matrix(kernel, rows, tile=90, scheduler=cluster.scheduler_address)
    np.testing.assert_array_equal(here, there)
    wide = gram_matrix(kernel, rows[:50], rows, tile=90, scheduler=cluster.scheduler_address)
    np.testing.assert_allclose(wide, here[:50], atol=1e-12)


class Deadly:
    """Takes its worker with it, as a tile that does not fit in memory would."""

    n_inputs, sampled, seed = 1, False, None

    def identity(self) -> dict[str, Any]:
        return {"kernel": "deadly"}

    def tile_rows(self) -> int:
        return 4

    def open(self, seed: int) -> Any:
        def matrix(x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
            if x[0, 0] == 0 and y is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return np.ones((len(x), len(x if y is None else y)))

        return matrix


def test_a_tile_that_kills_every_worker_is_given_up(
    cluster: distributed.LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(workers, "ROUNDS", 0)
    with pytest.raises(ModuleNotFoundError):  # workers cannot import a test
        gram_matrix(Deadly(), np.arange(8.0)[:, None], scheduler=cluster.scheduler_address)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    request.addfinalizer(lambda: cloudpickle.unregister_pickle_by_value(sys.modules[__name__]))
    with pytest.raises(RuntimeError, match=r"went down with its worker .* take smaller tiles"):
        gram_matrix(Deadly(), np.arange(8.0)[:, None], out=tmp_path, scheduler=cluster.scheduler_address)
    # How many of the two harmless tiles are done by then is a race; what is done stays.
    assert n_finished(tmp_path) >= 1


def test_a_lost_scheduler_says_so_and_loses_no_tile(tmp_path: Path) -> None:
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        processes=False,
        protocol="tcp",
        silence_logs=50,
    ) as cluster:
        stop = threading.Event()

        def progress(done: int, total: int, text: str) -> None:
            if done == 2:
                stop.set()
                cluster.close()

        rows = np.random.default_rng(5).uniform(-1, 1, (N_ROWS, 6))
        kernel = QuantumKernel(zz_feature_map(6), "aer?shots=20&seed=3")
        with pytest.raises(ConnectionError, match="the Dask scheduler is gone"):
            gram_matrix(kernel, rows, out=tmp_path, tile=TILE, scheduler=cluster.scheduler_address, progress=progress)
    assert n_finished(tmp_path) >= 2
    assert array_digest(gram_matrix(kernel, rows, out=tmp_path, tile=TILE)) == undisturbed()


@dataclass(frozen=True)
class Noting:
    """Notes each opening, with the process that does it."""

    file: Path
    n_inputs: int = 1
    sampled: bool = False
    seed: int | None = None

    def identity(self) -> dict[str, Any]:
        return {"kernel": "noting"}

    def tile_rows(self) -> int:
        return 3

    def open(self, seed: int) -> Any:
        with self.file.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        return lambda x, y: x @ (x if y is None else y).T


@pytest.fixture
def by_value() -> Iterator[None]:
    """Workers cannot import a test."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.usefixtures("by_value")
def test_a_worker_opens_a_kernel_once_and_is_asked_for_its_tiles(
    cluster: distributed.LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_way_of_the_scheduler: list[Any] = []
    gather = cluster.scheduler.handlers["gather"]
    monkeypatch.setitem(
        cluster.scheduler.handlers,
        "gather",
        lambda *args, **kwargs: by_way_of_the_scheduler.append(kwargs) or gather(*args, **kwargs),
    )
    kernel, rows = Noting(tmp_path / "openings"), np.arange(30.0)[:, None]
    for n_rows in (30, 20):
        found = gram_matrix(kernel, rows[:n_rows], scheduler=cluster.scheduler_address)
        np.testing.assert_array_equal(found, (rows @ rows.T)[:n_rows, :n_rows])
    openings = [pid for pid in map(int, kernel.file.read_text().split()) if pid != os.getpid()]
    assert openings and len(set(openings)) == len(openings)
    assert not by_way_of_the_scheduler


@pytest.mark.usefixtures("by_value")
def test_workers_out_of_reach_answer_by_way_of_the_scheduler(
    cluster: distributed.LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(workers.socket, "create_connection", unreachable)
    rows = np.arange(9.0)[:, None]
    found = gram_matrix(Noting(tmp_path / "openings"), rows, scheduler=cluster.scheduler_address)
    np.testing.assert_array_equal(found, rows @ rows.T)


def test_a_scheduler_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 1)
    kernel, rows = QuantumKernel(zz_feature_map(2)), np.zeros((3, 2))
    with pytest.raises(ConnectionError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        gram_matrix(kernel, rows, out=tmp_path, scheduler="tcp://127.0.0.1:9")


@pytest.mark.slow
def test_twenty_killed_workers_and_five_killed_drivers(cluster: distributed.LocalCluster, tmp_path: Path) -> None:
    url = cluster.scheduler_address
    kills = kill_workers(
        cluster, 20, 1.5, lambda: killed_and_resumed(tmp_path, url, [2, 9, 15, 30, 44], n_rows=200, tile=20)
    )
    assert kills == 20
