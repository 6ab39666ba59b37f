"""``gram``: a kernel matrix of any size, on disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from qworkbench.cli.console import interruptible, note, print_json, print_table
from qworkbench.cli.options import STANDARDIZE, FeatureMap, Json, Preprocessing, Seed
from qworkbench.cli.shared import feature_map_of
from qworkbench.progress import progress_bar


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(gram)


def gram(
    data: Annotated[
        str, typer.Argument(help="The rows: a data set or a file. All columns of a file but its ?target= are features.")
    ],
    columns: Annotated[str | None, typer.Option(help="The columns, e.g. the training rows; DATA by default.")] = None,
    feature_map: FeatureMap = "iqp",
    n_qubits: Annotated[int | None, typer.Option(help="Width of a named map; by default 2 to 4.")] = None,
    n_layers: Annotated[int, typer.Option(help="Repetitions of a named map.")] = 1,
    bandwidth: Annotated[float, typer.Option(help="Factor on the data.")] = 0.5,
    kernel: Annotated[
        str,
        typer.Option(
            help="fidelity or projected with options: fidelity?method=&allocation=&correction=, "
            "projected?n_body=&outer=&gamma=&shape=."
        ),
    ] = "fidelity",
    backend: Annotated[str, typer.Option(help="Where circuits run, e.g. aer?shots=1024.")] = "statevector",
    preprocessing: Preprocessing = STANDARDIZE,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Directory of the matrix and of its finished tiles.")] = Path("runs/gram"),
    scheduler: Annotated[
        str, typer.Option(metavar="threads|dask|URL", help="dask: processes on this machine; URL: a Dask scheduler.")
    ] = "threads",
    workers: Annotated[int | None, typer.Option(help="Threads or processes; by default one a core.")] = None,
    tile: Annotated[int | None, typer.Option(help="Rows of a tile; by default by width and backend.")] = None,
    as_json: Json = False,
) -> None:
    """Compute a quantum kernel matrix in tiles and keep it on disk.

    Run the same again to go on after a stop: finished tiles are not computed again.
    """
    from qworkbench.kernels.gram import gram_matrix
    from qworkbench.kernels.ledger import ERRORS
    from qworkbench.kernels.tiles import array_digest

    rows, others, labels = _numbers(data, columns, preprocessing)
    _check_labels(labels)
    circuit = _circuit(feature_map, rows.shape[1], n_qubits, n_layers)
    made = _kernel(kernel, circuit, bandwidth, backend, seed, rows if others is None else others)
    start = time.perf_counter()
    with interruptible(), progress_bar() as progress:
        matrix = gram_matrix(
            made,
            rows,
            others,
            out=out,
            scheduler=scheduler,
            workers=workers,
            tile=tile,
            progress=progress,
        )
    seconds = time.perf_counter() - start
    _keep_labels(labels, out)
    shown = {
        "matrix": str(out / "gram.npy"),
        "shape": list(matrix.shape),
        "sha256": array_digest(matrix),
        "seconds": round(seconds, 3),
    }
    if (errors := out / ERRORS).exists():
        shown["std_error"] = str(errors)
    if as_json:
        print_json(shown)
        return
    print_table(
        f"{kernel} kernel ({feature_map}) of {data} on {backend}", ("", ""), [(k, str(v)) for k, v in shown.items()]
    )
    note(f"In Python: numpy.load({str(out / 'gram.npy')!r}, mmap_mode='r')")


def _numbers(data: str, columns: str | None, preprocessing: list[str]) -> tuple[Any, Any, Any]:
    """Rows, columns (or None) and the rows' labels (or None); the steps are fitted on the columns if there are any."""
    from qworkbench.cli.rows import read_rows
    from qworkbench.comparison.preprocessing import pipeline

    table = read_rows(data)
    steps = pipeline(preprocessing, "passthrough")
    if columns is None:
        return steps.fit_transform(table.X), None, table.y
    others = read_rows(columns, table.names)
    fitted = steps.fit(others.X)
    return fitted.transform(table.X), fitted.transform(others.X), table.y


def _circuit(feature_map: str, n_features: int, n_qubits: int | None, n_layers: int) -> Any:
    from circuits import FEATURE_MAPS
    from qworkbench.models.base import resolve_circuit

    circuit = resolve_circuit(feature_map_of(feature_map), FEATURE_MAPS, n_features, n_qubits, n_layers)
    if circuit.n_weights:
        raise ValueError(f"expected a feature map without weights, got {circuit.n_weights}")
    return circuit


def _kernel(text: str, circuit: Any, bandwidth: float, backend: str, seed: int, rows: Any) -> Any:
    from qworkbench.kernels import ProjectedKernel
    from qworkbench.kernels.spec import KernelSpec
    from qworkbench.kernels.tiles import tile_kernel
    from qworkbench.models.base import seeded

    spec = KernelSpec.parse(text)
    if spec.training:
        raise ValueError(
            f"expected a kernel without training, got {text!r}; train it in Python and give it to gram_matrix"
        )
    kernel = spec.make(circuit, seeded(backend, seed), bandwidth=bandwidth)
    tile_kernel(kernel)  # shots of a projected kernel are refused before the rows are measured for gamma
    if isinstance(kernel, ProjectedKernel) and "gamma" not in spec.options:
        # Rounded, since its last digits may depend on the machine, and finished tiles must be found again.
        kernel.set_gamma(float(f"{kernel.scale_gamma(rows):.6g}"))
    return kernel


LABELS = "y.npy"


def _check_labels(labels: Any) -> None:
    """Refuse gaps."""
    import pandas as pd

    if labels is not None and pd.isna(labels).any():
        raise ValueError("expected a label in each row, got an empty one")


def _keep_labels(labels: Any, out: Path) -> None:
    """The rows' labels beside the matrix, for whoever trains on it; others that are there are left alone.

    Raises:
        ValueError: If there are others.
    """
    import numpy as np

    if labels is None:
        return
    file, plain = out / LABELS, labels.astype(str) if labels.dtype.kind == "O" else labels
    try:
        same = file.exists() and np.array_equal(np.load(file, allow_pickle=False), plain)
    except (EOFError, ValueError):  # cut off
        file.unlink()
        same = False
    if file.exists() and not same:
        raise ValueError(f"{file} holds other labels of the same rows; give another directory")
    np.save(file, plain, allow_pickle=False)
