"""``jobs``: the journal of remote jobs."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qworkbench.cli.console import print_json, print_table
from qworkbench.cli.options import Json

if TYPE_CHECKING:
    from qworkbench.cloud.journal import Journal

JournalOption = Annotated[
    Path | None,
    typer.Option("--journal", help="The journal's file.", show_default="$QWORKBENCH_JOURNAL or runs/jobs.sqlite"),
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="Tag or vendor's id, or its beginning.")]

app = typer.Typer(help="List the remote jobs of the journal, and settle what became of one.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    for command in (list_jobs, show, resume, adopt, cancel, export):
        app.command(command.__name__.removesuffix("_jobs"))(command)
    parent.add_typer(app, name="jobs")


def _open(path: Path | None) -> Journal:
    from qworkbench.cloud.journal import Journal
    from qworkbench.cloud.settings import default_journal

    file = path or Path(default_journal())
    if not file.is_file():
        raise FileNotFoundError(f"no job journal at {file}; name its file by --journal, or run a remote backend first")
    return Journal(file)


def list_jobs(
    journal: JournalOption = None,
    run: Annotated[str | None, typer.Option(help="Only of this run.")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state, such as submitted.")] = None,
    as_json: Json = False,
) -> None:
    """List the jobs, oldest first, with what they cost; ~ marks an estimate."""
    from qworkbench.cloud.journal import STATES
    from qworkbench.errors import unknown_name

    if state is not None and state not in STATES:
        raise unknown_name("state", state, STATES)
    book = _open(journal)
    jobs = book.jobs(run=run, state=state)
    if as_json:
        print_json([asdict(job) for job in jobs])
        return
    # The beginning of a tag names a job as well, and fits into a line.
    rows = [
        (job.tag[:12], job.job_id, job.run, job.backend, job.state, _when(job.created), job.circuits, _cost(job))
        for job in jobs
    ]
    columns = ("job", "vendor's id", "run", "backend", "state", "created", "circuits", "USD")
    print_table(f"{len(jobs)} jobs in {book.path}", columns, rows)
    for name in sorted({job.run for job in jobs}):
        print(f"run {name}: {book.spent(name):.2f} USD spent or reserved")


def _cost(job: Any) -> str:
    return f"~{job.estimate:.2f}" if job.cost is None else f"{job.cost:.2f}"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _print(job: Any, as_json: bool, extra: dict[str, Any] | None = None) -> None:
    described = asdict(job) | (extra or {})
    if as_json:
        print_json(described)
        return
    described |= {key: _when(described[key]) for key in ("created", "sent", "updated") if described[key]}
    print_table(job.tag, ("", ""), [(key, value) for key, value in described.items()])


def show(job: JobName, journal: JournalOption = None, as_json: Json = False) -> None:
    """Show all that the journal knows about a job, counts included (--json: all of them)."""
    from qworkbench.cloud.adapter import Batch
    from qworkbench.cloud.journal import DONE

    book = _open(journal)
    found = book.get(job)
    batch = Batch.from_bytes(book.payload(found.tag))
    extra: dict[str, Any] = {"circuit": f"{len(batch.circuits)} circuits with {len(batch.values)} rows of values"}
    if found.state == DONE:
        counts = book.result(found.tag)
        extra["counts"] = counts if as_json else f"{counts[0][0]} and so on"
    _print(found, as_json, extra)


def resume(
    job: JobName,
    resend: Annotated[
        bool, typer.Option("--resend", help="If it is unknown there, cancelled, failed or lost: allow sending anew.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for it.")] = 60.0,
    grace: Annotated[float, typer.Option(help="Seconds to look for a job of unknown fate.")] = 30.0,
    journal: JournalOption = None,
    as_json: Json = False,
) -> None:
    """Ask the vendor about a job, and store its result if it has one."""
    from qworkbench.cloud import jobs

    _print(jobs.resume(_open(journal), job, resend=resend, timeout=timeout, grace=grace), as_json)


def adopt(
    job: JobName,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The vendor's id.")],
    journal: JournalOption = None,
    as_json: Json = False,
) -> None:
    """Tell the journal which of the vendor's jobs a job of unknown fate is."""
    from qworkbench.cloud import jobs

    _print(jobs.adopt(_open(journal), job, job_id), as_json)


def cancel(job: JobName, journal: JournalOption = None, as_json: Json = False) -> None:
    """Cancel a job at the vendor, or one that was not sent yet; it is never sent again by itself."""
    from qworkbench.cloud import jobs

    _print(jobs.cancel(_open(journal), job), as_json)


def export(
    out: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="The file to write.")],
    run: Annotated[str | None, typer.Option(help="Only of this run.")] = None,
    journal: JournalOption = None,
    as_json: Json = False,
) -> None:
    """Write the jobs with their counts as JSON lines."""
    from qworkbench.cloud import jobs
    from qworkbench.runs import check_writable

    check_writable(out)
    book = _open(journal)
    number = jobs.export(book, book.jobs(run=run), out)
    if as_json:
        print_json({"file": str(out), "jobs": number})
    else:
        print(f"written: {number} jobs to {out}")
