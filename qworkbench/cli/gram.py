"""``gram``: a kernel matrix of any size, on disk."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from qworkbench.cli.console import interruptible, note, print_json, print_table
from qworkbench.cli.options import STANDARDIZE, Json, Preprocessing, Seed
from qworkbench.progress import progress_bar

KERNELS = ("fidelity", "projected")
_INPUT = re.compile(r"^\s*input\s+\w+(?:\[\d+\])?\s+(\w+)\s*;", re.MULTILINE)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(gram)


def gram(
    data: Annotated[str, typer.Argument(help="The rows: a data set or a file; a CSV file needs no target.")],
    columns: Annotated[str | None, typer.Option(help="The columns, e.g. the training rows; DATA by default.")] = None,
    circuit: Annotated[str, typer.Option(help="A feature map by name, or a file such as map.qasm.")] = "iqp",
    n_qubits: Annotated[int | None, typer.Option(help="Width of a named map; by default 2 to 4.")] = None,
    n_layers: Annotated[int, typer.Option(help="Repetitions of a named map.")] = 1,
    bandwidth: Annotated[float, typer.Option(help="Factor on the data.")] = 0.5,
    kernel: Annotated[str, typer.Option(metavar="|".join(KERNELS), help="What is compared.")] = KERNELS[0],
    gamma: Annotated[float | None, typer.Option(help="Of a projected kernel; 1 / (features var) by default.")] = None,
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
    from qworkbench.kernels.tiles import array_digest

    rows, others, labels = _numbers(data, columns, preprocessing)
    feature_map = _feature_map(circuit, rows.shape[1], n_qubits, n_layers)
    made = _kernel(kernel, feature_map, bandwidth, gamma, backend, seed, rows if others is None else others)
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
    if as_json:
        print_json(shown)
        return
    print_table(
        f"{kernel} kernel ({circuit}) of {data} on {backend}", ("", ""), [(k, str(v)) for k, v in shown.items()]
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


def _feature_map(circuit: str, n_features: int, n_qubits: int | None, n_layers: int) -> Any:
    from circuits import FEATURE_MAPS, from_qasm
    from qworkbench.models.base import resolve_circuit

    chosen: Any = circuit
    if circuit.endswith(".qasm"):
        # Features in the order in which the program declares its inputs; Qiskit's order is by name, x10 before x2.
        chosen = from_qasm(Path(circuit), inputs=_INPUT.findall(Path(circuit).read_text(encoding="utf-8")))
    feature_map = resolve_circuit(chosen, FEATURE_MAPS, n_features, n_qubits, n_layers)
    if feature_map.n_weights:
        raise ValueError(f"expected a feature map without weights, got {feature_map.n_weights}")
    return feature_map


def _kernel(
    kind: str, feature_map: Any, bandwidth: float, gamma: float | None, backend: str, seed: int, rows: Any
) -> Any:
    from qworkbench.errors import unknown_name
    from qworkbench.kernels import ProjectedKernel, QuantumKernel
    from qworkbench.kernels.tiles import tile_kernel
    from qworkbench.models.base import seeded

    if kind not in KERNELS:
        raise unknown_name("kernel", kind, KERNELS)
    if kind == KERNELS[0]:
        if gamma is not None:
            raise ValueError("expected no --gamma with a fidelity kernel; give --kernel projected")
        return QuantumKernel(feature_map, seeded(backend, seed), bandwidth=bandwidth)
    kernel = ProjectedKernel(feature_map, seeded(backend, seed), bandwidth=bandwidth)
    tile_kernel(kernel)  # shots are refused before the rows are measured for gamma
    # Rounded, since its last digits may depend on the machine, and finished tiles must be found again.
    kernel.set_gamma(float(f"{kernel.scale_gamma(rows):.6g}") if gamma is None else gamma)
    return kernel


def _keep_labels(labels: Any, out: Path) -> None:
    """The rows' labels beside the matrix, for whoever trains on it."""
    import numpy as np

    if labels is not None:
        np.save(out / "y.npy", labels.astype(str) if labels.dtype.kind == "O" else labels, allow_pickle=False)
