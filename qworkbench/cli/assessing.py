"""``kernel``: is a quantum kernel any good on these data?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qworkbench.cli.console import note, print_json, print_table
from qworkbench.cli.options import STANDARDIZE, BackendOption, FeatureMap, Json, Preprocessing, Seed
from qworkbench.cli.shared import feature_map_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(kernel)


def kernel(
    data: Annotated[str, typer.Argument(help="A name (moons?noise=0.2) or a file (a.csv?target=y).")],
    kernel: Annotated[
        str,
        typer.Option(
            help="fidelity, or projected?n_body=2&outer=matern; with train=alignment also for a map with weights, "
            "map.qasm?weights=w0,w1."
        ),
    ] = "fidelity",
    feature_map: FeatureMap = "iqp",
    n_qubits: Annotated[int | None, typer.Option(help="By default one a feature, from 2 to 4.")] = None,
    n_layers: Annotated[int, typer.Option(min=1, help="Repetitions of the map.")] = 1,
    bandwidth: Annotated[float, typer.Option(help="Factor on the data.")] = 0.5,
    rows: Annotated[int, typer.Option(min=10, help="Rows drawn at random, at most.")] = 300,
    preprocessing: Preprocessing = STANDARDIZE,
    backend: BackendOption = None,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="The page, or a folder for kernel.html.")] = Path("runs/kernel"),
    as_json: Json = False,
) -> None:
    """Say whether a quantum kernel is of use on some data: concentration, classical look-alikes, scores; one page."""
    import numpy as np

    from qworkbench.comparison.preprocessing import pipeline
    from qworkbench.datasets import load_dataset
    from qworkbench.diagnostics import assess_kernel
    from qworkbench.diagnostics.page import page_file
    from qworkbench.kernels.spec import KernelSpec
    from qworkbench.models import QuantumKernelClassifier, QuantumKernelRegressor
    from qworkbench.runs import check_writable

    check_writable(page_file(out))
    dataset = load_dataset(data)
    task = "regression" if dataset.task == "regression" else "classification"
    model = (QuantumKernelRegressor if task == "regression" else QuantumKernelClassifier)(
        feature_map_of(feature_map),
        n_qubits=n_qubits,
        n_layers=n_layers,
        bandwidth=bandwidth,
        kernel=kernel,
        backend=backend or "statevector",
        random_state=seed,
    )
    order = np.random.default_rng(seed).permutation(len(dataset.y))
    chosen = others = np.sort(order[:rows])
    if KernelSpec.parse(kernel).training:
        # On the rows of its training a kernel is flattered.
        half = min(rows, len(order) // 2)
        if half < 10:
            raise ValueError(f"expected at least 20 rows, half of them to train the kernel on, got {len(order)}")
        chosen, others = np.sort(order[:half]), np.sort(order[half : 2 * half])
        note(f"trained on {len(others)} rows, assessed on {len(chosen)} others")
    X, y, trained = dataset.X[chosen], dataset.y[chosen], dataset.X[others]
    if preprocessing:
        steps = pipeline(preprocessing, model)[:-1].fit(trained)
        X, trained = steps.transform(X), steps.transform(trained)
    made = model.make_kernel(trained, dataset.y[others])
    found = assess_kernel(made, X, y, task=task, seed=seed, out=out)
    if as_json:
        from qworkbench.diagnostics.page import rows_of

        numbers = {question: {"quantum": ours, "rbf": theirs} for question, ours, theirs in rows_of(found)}
        print_json({"verdicts": found.verdicts(), "numbers": numbers, "page": str(found.page)})
        return
    print_table(f"{kernel} kernel, {feature_map} map", ("", ""), enumerate(found.verdicts(), 1))
    print(f"page: {found.page}")
