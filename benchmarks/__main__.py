"""All benchmarks, and the page made of them.

    python -m benchmarks                  # everything; rewrites docs/performance.md; about an hour
    python -m benchmarks --quick          # a few minutes; writes the page into the run directory

Each part runs in a process of its own, since the number of threads is fixed when a process starts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

QUICK_SIZES = {"ansatz": ["4,2,32", "8,3,32", "12,4,8"], "random": ["4,30,32", "8,30,8"]}


def main(argv: Sequence[str] | None = None) -> int:
    """Run them one after the other; 1 if results disagree."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, one thread, few repetitions")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run directory (default runs/benchmarks)")
    parser.add_argument("--threads", type=int, nargs="+", help="default 1 and 2; with --quick 1")
    arguments = parser.parse_args(argv)
    quick: bool = arguments.quick
    out = arguments.out or Path("runs") / ("benchmarks-quick" if quick else "benchmarks")
    agreed = True
    for threads in arguments.threads or ([1] if quick else [1, 2]):
        for circuit, sizes in QUICK_SIZES.items():
            options = ["--sizes", *sizes, "--rounds", "3", "--budget", "3"] if quick else []
            command = ["training_step", "--circuit", circuit, "--threads", str(threads), "--out", str(out), *options]
            agreed &= _run(command) == 0
    _run(["behaviour", "--out", str(out), *(["--quick"] if quick else [])])
    page = out / "performance.md" if quick else Path("docs/performance.md")
    _run(["page", str(out), "--out", str(page)])
    return 0 if agreed else 1


def _run(command: list[str]) -> int:
    name, *rest = command
    return subprocess.run([sys.executable, "-W", "ignore", "-m", f"benchmarks.{name}", *rest]).returncode


if __name__ == "__main__":
    sys.exit(main())
