"""The job journal: what was meant to be sent, what was sent, and what came back; survives a kill at any moment.

One SQLite file in WAL mode with full synchronisation, so a statement that has returned is on disk. A job's payload is
written before it is sent, the vendor's id before anybody waits, the result before anybody sees it.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from qworkbench.cloud.adapter import Counts
from qworkbench.cloud.errors import BudgetError, JobCancelledError

INTENT = "intent"
"""Written down; surely nothing was sent."""
SENDING = "sending"
"""The submit was begun: if its process died, nobody knows how it ended."""
AMBIGUOUS = "ambiguous"
"""The submit ended without an answer."""
SUBMITTED = "submitted"
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
ABANDONED = "abandoned"
"""Given up and may be sent anew; costs nothing unless the vendor had it, which ``cost`` then says."""
STATES = (INTENT, SENDING, AMBIGUOUS, SUBMITTED, DONE, FAILED, CANCELLED, ABANDONED)

SCHEMA = """
create table if not exists jobs (
    tag text primary key, key text not null, occurrence integer not null, run text not null, backend text not null,
    state text not null, job_id text, created real not null, sent real, updated real not null, owner text not null,
    circuits integer not null, shots integer not null, estimate real not null, cost real, seconds real, error text,
    payload blob not null, result blob
);
create index if not exists by_key on jobs (run, key, occurrence);
create index if not exists by_time_sent on jobs (sent);
"""
BUSY_SECONDS = 60.0
FOREIGN_SECONDS = 900.0
"""How long a job that another machine began to send is left to it."""


@dataclass(frozen=True)
class Job:
    """A row of the journal without its payload and result."""

    tag: str
    """Our own id, sent along with the job so that the vendor can find it by it."""
    key: str
    """Hash of everything that defines the result."""
    occurrence: int
    """How many jobs with the same content came before it."""
    run: str
    backend: str
    state: str
    job_id: str | None
    """The vendor's id."""
    created: float
    sent: float | None
    updated: float
    owner: str
    """Host, process and its start: who sends it."""
    circuits: int
    shots: int
    estimate: float
    """US dollars, before it was sent."""
    cost: float | None
    """US dollars, afterwards."""
    seconds: float | None
    """QPU seconds."""
    error: str | None

    @property
    def owned_by_another(self) -> bool:
        """Whether another process or thread that is still alive is busy sending it."""
        host, pid, started = self.owner.rsplit(":", 2)
        if self.state not in (INTENT, SENDING):
            return False
        if self.owner == _owner():
            sender = _senders.get(self.tag, threading.current_thread())
            return sender is not threading.current_thread() and sender.is_alive()
        if host != socket.gethostname():
            # Nobody here can tell, so waiting is the safe side; but a container that was made anew has another name.
            return time.time() - self.updated < FOREIGN_SECONDS
        try:
            return abs(psutil.Process(int(pid)).create_time() - float(started)) < 1.0
        except psutil.NoSuchProcess:
            return False


_senders: dict[str, threading.Thread] = {}
"""Tags that threads of this process are busy sending."""
_COLUMNS = ", ".join(f.name for f in fields(Job))


def _owner() -> str:
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


class Journal:
    """An open journal; several processes may share its file.

    Args:
        path: The file, made when missing, or ``:memory:``.

    Raises:
        OSError: If the file cannot be opened or is no journal.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._lock = threading.RLock()
        if self.path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")
            self._db.executescript(SCHEMA)
            self._close = weakref.finalize(self, self._db.close)
        except sqlite3.Error as error:
            raise OSError(f"cannot use {self.path} as job journal: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._named():
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                # A full disk ends a transaction by itself.
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    @contextmanager
    def _named(self) -> Iterator[None]:
        """A full disk, a lock that is held too long and the like, as an error that says which file."""
        try:
            yield
        except sqlite3.Error as error:
            raise OSError(
                f"cannot use the job journal {self.path}: {error}; mend that and run again, which finds what was sent"
            ) from error

    def _query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock, self._named():
            return self._db.execute(sql, values).fetchall()

    def find(self, run: str, key: str, occurrence: int) -> Job | None:
        """The newest job of this content, abandoned ones left out."""
        rows = self._query(
            f"select {_COLUMNS} from jobs where run=? and key=? and occurrence=? and state<>? "
            "order by rowid desc limit 1",
            *(run, key, occurrence, ABANDONED),
        )
        return Job(*rows[0]) if rows else None

    def get(self, name: str) -> Job:
        """A job by its tag, the vendor's id, or the beginning of one of them.

        Raises:
            ValueError: If there is none, or more than one, or the name is empty.
        """
        if not name:
            raise ValueError("expected a job's tag or id, got an empty name")
        rows = self._query(
            f"select {_COLUMNS} from jobs where substr(tag, 1, ?2) = ?1 or substr(job_id, 1, ?2) = ?1", name, len(name)
        )
        exact = [row for row in rows if name in (row[0], row[6])]
        rows = exact or rows
        if len(rows) != 1:
            found = "none" if not rows else f"{len(rows)} of them"
            raise ValueError(f"expected one job with the tag or id {name!r} in {self.path}, found {found}")
        return Job(*rows[0])

    def jobs(self, *, run: str | None = None, state: str | None = None) -> list[Job]:
        """All jobs, oldest first."""
        rows = self._query(
            f"select {_COLUMNS} from jobs where (?1 is null or run=?1) and (?2 is null or state=?2) order by rowid",
            *(run, state),
        )
        return [Job(*row) for row in rows]

    def spent(self, run: str) -> float:
        """US dollars of a run: what was charged, and the estimate of what is not settled yet."""
        rows = self._query(
            "select coalesce(sum(coalesce(cost, case state when ? then 0 else estimate end)), 0) from jobs where run=?",
            *(ABANDONED, run),
        )
        return float(rows[0][0])

    def intend(
        self,
        key: str,
        occurrence: int,
        *,
        run: str,
        backend: str,
        circuits: int,
        shots: int,
        estimate: float,
        budget: float,
        payload: bytes,
    ) -> Job | None:
        """Write down a job before it is sent, if the run's budget has room for it.

        Returns:
            The new job; None if another process has written the same one in the meantime.

        Raises:
            BudgetError: If it does not fit into the budget.
        """
        tag, now = f"qwb-{uuid.uuid4().hex[:24]}", time.time()
        with self._transaction():
            known = self.find(run, key, occurrence)
            # Judged here, where nobody can cancel or send it in between.
            orphaned = known is not None and known.state == INTENT and not known.owned_by_another
            if known is not None and known.state != FAILED and not orphaned:
                return None
            spent = self.spent(run) - (known.estimate if known is not None and orphaned else 0.0)
            if estimate > 0 and spent + estimate > budget:
                raise BudgetError(
                    f"the next job on {backend} is estimated at {estimate:.2f} USD; the run {run!r} has used "
                    f"{spent:.2f} of its budget of {budget:.2f} USD; nothing was sent. Raise it by --budget USD or "
                    "budget=USD in the URI (qworkbench plan shows the cost of a whole training)"
                )
            if known is not None and orphaned:
                self._db.execute("update jobs set state=?, updated=? where tag=?", (ABANDONED, now, known.tag))
            _senders[tag] = threading.current_thread()
            self._db.execute(
                "insert into jobs (tag, key, occurrence, run, backend, state, created, updated, owner, circuits, "
                "shots, estimate, payload) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (tag, key, occurrence, run, backend, INTENT, now, now, _owner(), circuits, shots, estimate, payload),
            )
        return self.get(tag)

    def update(self, tag: str, state: str, *, only_from: Sequence[str] = STATES, **columns: Any) -> None:
        """Move a job to another state; on disk when this returns.

        Args:
            tag: Its tag.
            state: The new state.
            only_from: Where it must still be; if another process has moved it on, nothing happens.
            columns: What else is known now.
        """
        columns |= {"state": state, "updated": time.time()}
        assigned, places = ", ".join(f"{name}=?" for name in columns), ", ".join("?" * len(only_from))
        with self._transaction():
            self._db.execute(
                f"update jobs set {assigned} where tag=? and state in ({places})", (*columns.values(), tag, *only_from)
            )

    def take_turn(self, backend: str, tag: str, per_minute: int | None) -> float:
        """Mark a job as being sent, unless that would be one too many for its vendor within a minute.

        Returns:
            Seconds to wait before asking again; 0 if the job may be sent now.

        Raises:
            JobCancelledError: If somebody has cancelled it, or it is no longer to be sent, in the meantime.
        """
        now = time.time()
        # A vendor counts all of an account's jobs, with whatever device and options.
        vendor = re.split("[:?]", backend)[0]
        with self._transaction():
            if per_minute is not None:
                sent = [
                    row[0]
                    for row in self._db.execute(
                        # A clock that was set back leaves times in the future, which say nothing.
                        "select sent from jobs where sent>? and sent<=? and (backend=?3 or backend like ?3||':%' or "
                        "backend like ?3||'?%') order by sent desc limit ?4",
                        (now - 60, now, vendor, per_minute),
                    )
                ]
                if len(sent) >= per_minute:
                    return max(0.01, sent[-1] + 60 - now)
            moved = self._db.execute(
                "update jobs set state=?, sent=?, updated=?, owner=? where tag=? and state in (?, ?, ?)",
                (SENDING, now, now, _owner(), tag, INTENT, SENDING, AMBIGUOUS),
            )
            if moved.rowcount != 1:
                raise JobCancelledError(f"job {tag} was {self.get(tag).state} before it was sent; nothing was sent")
            _senders[tag] = threading.current_thread()
        return 0.0

    @staticmethod
    def release(tag: str) -> None:
        """Say that this thread no longer sends a job."""
        _senders.pop(tag, None)

    def payload(self, tag: str) -> bytes:
        """The batch of a job; see ``Batch.from_bytes``."""
        return bytes(self._query("select payload from jobs where tag=?", tag)[0][0])

    def result(self, tag: str) -> Counts:
        """The counts of a finished job."""
        return read_counts(self._query("select result from jobs where tag=?", tag)[0][0])


def write_counts(counts: Counts) -> bytes:
    """Counts as bytes for the journal."""
    return json.dumps([[list(row.items()) for row in rows] for rows in counts], separators=(",", ":")).encode()


def read_counts(data: bytes) -> Counts:
    """Read what ``write_counts`` wrote."""
    return [[{int(k): int(n) for k, n in row} for row in rows] for rows in json.loads(data)]
