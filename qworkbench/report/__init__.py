"""Reports: records in, tables, figures and one self-contained HTML page out. Reads records only.

The conventions below are the whole contract between what measures and what reports. Keys marked * are
required; the report says which record lacks one. Any further key is welcome and ignored. A score is always
"higher is better".

``kind="fold"``, one model fitted and scored on one outer fold:
    spec: ``dataset``* (name), ``model``* (name), ``quantum``* (bool), ``fold``* (int), ``repeat`` (int, 0),
        ``dataset_fingerprint``, ``n_samples``, ``n_features``, ``task``, ``seed``, ``backend`` (URI or None),
        ``params`` (chosen hyper-parameters), ``protocol`` (dict: ``folds``, ``repeats``, ``trials``,
        ``inner_folds``, ``preprocessing``, ``metric``, ``max_train``, ``seed`` of the splits, ...).
        Folds are compared with each other if data set, fingerprint and the whole protocol are equal, so
        whatever differs between models must not stand in ``protocol``.
    metrics: ``score``* (the primary metric, or None where undefined), and others by name.
    info: ``fit_seconds``, ``predict_seconds``, ``tune_seconds``, ``circuits``, ``shots``, ``n_parameters``,
        ``n_train``, ``n_test`` (they set the variance correction; else 1/(folds - 1) is taken),
        ``loss_curve`` (list), ``source`` (provenance of the data).
``kind="rung"``, a trained model scored again on another backend:
    spec: as the fold's, and ``rung``* (``"exact"``, ``"shots"``, ``"noise"`` or any name), ``backend`` (URI
        of the rung), ``shots``, ``ladder_samples``. ``"mitigated"`` is judged against ``"noise"`` where these agree.
    metrics: ``score``*, ``score_change`` (to the exact rung; computed if absent and the exact rung is there),
        ``loss`` (less is better), ``std_error`` (of the outputs), ``mean_abs_output_change``.
    info: ``seconds``, ``circuits``, ``shots``.
``kind="trial"``, one tuning trial:
    spec: as the fold's, and ``trial`` (int), with ``params`` the tried ones.
    metrics: ``score`` (mean over the inner folds).
    info: ``seconds``.
``kind="failure"``, a cell that raised; shown, never hidden:
    spec: what is known of ``dataset``, ``model``, ``fold``, ``repeat``, ``rung``. info: ``error``* (message).
``kind="experiment"``, one row of a reproduction:
    spec: ``experiment``* (name), ``row``* (label), ``quantum`` (bool, optional). Several records of one row,
        e.g. one for each random problem, are averaged.
    metrics: ``score`` or any names.
    info: ``published`` (text or number), ``source`` (citation), ``sweeps`` (quantity -> its number in this row:
        with ``model`` in the spec the scores are drawn by it).
``kind="session"``, one invocation (made by ``qworkbench.runs.session_record``):
    info: ``command``, ``started``, ``platform``, ``cores``, ``versions``, ``sources`` (data set -> text).

A quantum result is shown only together with classical results on the same folds; otherwise it is withheld
and the page says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_report(run_dirs: Sequence[str | Path], out: str | Path) -> Path:
    """Write one self-contained HTML page about the records of one or more run directories.

    Args:
        run_dirs: Run directories or record files; records are merged by id.
        out: The HTML file, or a directory that gets a ``report.html``.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: If a run directory holds no records.
        ValueError: If there is no record at all, or one breaks the conventions above.
        OSError: If ``out`` cannot be written.
    """
    from qworkbench.report.html import write_page  # matplotlib and jinja2 load only when a page is made
    from qworkbench.runs import read_records

    records = read_records(*run_dirs)
    if not records:
        raise ValueError(f"no records in {', '.join(map(str, run_dirs)) or 'no directory'}: nothing to report")
    return write_page(records.values(), out, [str(p) for p in run_dirs])
