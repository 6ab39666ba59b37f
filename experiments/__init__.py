"""Runnable reproductions, one module each: a ``Config`` dataclass, ``run(config, known)`` and ``verdicts(records)``."""
