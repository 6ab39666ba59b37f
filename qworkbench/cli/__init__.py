"""The command line: parses, calls the library, prints. Heavy packages load inside the commands alone."""

from qworkbench.cli.program import app, main

__all__ = ["app", "main"]
