"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of tables.")]
BackendOption = Annotated[
    str | None, typer.Option("--backend", help="Where circuits run when training, e.g. aer?shots=1024.")
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget",
        min=0,
        help="US dollars that all jobs of the backend's run may cost.",
        show_default="$QWORKBENCH_BUDGET or 0",
    ),
]
FeatureMap = Annotated[
    str,
    typer.Option("--feature-map", "--circuit", help="angle, dense_angle, iqp, zz, ... or a file such as map.qasm."),
]
Param = Annotated[
    list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="A model setting; may be repeated.")
]
Preprocessing = Annotated[
    list[str], typer.Option("--preprocessing", "-p", help="standardize, minmax or pca:K; may be repeated.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]

STANDARDIZE = ["standardize"]
"""The default of ``--preprocessing``."""
