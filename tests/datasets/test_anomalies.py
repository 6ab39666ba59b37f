"""Tables with rare rows: shipped, from extras, and from a path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qworkbench.datasets import load_dataset
from qworkbench.errors import MissingExtraError

FIXED = Path(__file__).parent / "files" / "pandas_fixed.h5"


def n_anomalies(data) -> int:
    return int((data.y == "anomaly").sum())


def test_shuttle_is_the_table_of_odds() -> None:
    data = load_dataset("shuttle")
    assert data.X.shape == (49097, 9) and n_anomalies(data) == 3511
    assert (data.X[:3, 0].tolist(), data.y[:3].tolist()) == ([50, 53, 37], ["anomaly", "normal", "normal"])
    assert n_anomalies(load_dataset("shuttle?n_samples=1000")) == pytest.approx(71.5, abs=1)


def test_any_class_of_sklearns_tables_is_normal_on_request() -> None:
    data = load_dataset("breast_cancer?normal=benign")
    assert data.task == "anomaly" and n_anomalies(data) == 212
    digits = load_dataset("digits", normal=[0, 8], classes="0,1,8")
    labels = load_dataset("digits", classes="0,1,8").y
    assert ((digits.y == "anomaly") == (labels == 1)).all()
    with pytest.raises(ValueError, match="unknown class 'bening'; did you mean 'benign'"):
        load_dataset("breast_cancer?normal=bening")


def test_keel_tables_by_name_and_by_folder(tmp_path: Path) -> None:
    data = load_dataset("keel?table=yeast4")
    assert data.X.shape == (1484, 8) and n_anomalies(data) == 51
    intrusion = load_dataset("keel")
    assert len(intrusion.y) == 2233 and n_anomalies(intrusion) == 30
    assert intrusion.X.shape[1] == 48  # 38 columns of numbers, 3 of text with 10 values
    assert set(intrusion.X[:, intrusion.feature_names.index("Atr-2_http")]) == {0, 1}
    (tmp_path / "magic.dat").write_text("28.7, 16.0, g\n31.6, a, h\n\n")
    own = load_dataset("keel", table="magic", normal="g", path=str(tmp_path))
    assert own.feature_names == ("x0", "x1_16.0", "x1_a") and own.y.tolist() == ["normal", "anomaly"]
    np.testing.assert_array_equal(own.X, [[28.7, 1, 0], [31.6, 0, 1]])
    with pytest.raises(ValueError, match="unknown KEEL table 'magik'; did you mean 'magic'"):
        load_dataset("keel", table="magik", path=str(tmp_path))
    with pytest.raises(ValueError, match="unknown class of magic 'negative'"):
        load_dataset("keel", table="magic", path=str(tmp_path))
    (tmp_path / "magic.dat").write_text("1, g\n1, 2, h\n")
    with pytest.raises(ValueError, match=r"expected 2 cells in row 1 of magic\.dat, got 3"):
        load_dataset("keel", table="magic", path=str(tmp_path))


def test_jets_of_quarks_and_gluons() -> None:
    data = load_dataset("quark_gluon_jets")
    labels, counts = np.unique(data.y, return_counts=True)
    assert dict(zip(labels, counts, strict=True)) == {"gluon": 14095, "quark": 13115}
    table = pd.DataFrame(data.X, columns=data.feature_names)
    assert table["pt"].min() == pytest.approx(67, abs=1) and table["pt"].max() == pytest.approx(906, abs=1)
    # Gluons have the larger colour charge, so they radiate more: C_A / C_F = 9/4 asymptotically.
    by_parton = table.groupby(data.y)["n_charged"].mean()
    assert 1.2 < by_parton["gluon"] / by_parton["quark"] < 2.25
    assert (table[[f"z{i}" for i in range(1, 7)]].to_numpy() >= 0).all() and table["jet_charge"].abs().max() <= 1
    some = load_dataset("quark_gluon_jets?task=anomaly&features=n_charged,pt&n_samples=500")
    assert some.feature_names == ("n_charged", "pt") and abs(n_anomalies(some) - 500 * 13115 / 27210) <= 1
    with pytest.raises(ValueError, match="unknown feature 'n_chargd'; did you mean 'n_charged'"):
        load_dataset("quark_gluon_jets?features=n_chargd")


def test_lhc_olympics_from_what_pandas_wrote() -> None:
    data = load_dataset("lhc_olympics", path=str(FIXED))
    assert n_anomalies(data) == 4 and data.X.shape == (12, 12)
    raw = pd.DataFrame(_h5(FIXED))
    p = [raw[[f"p{axis}j{i}" for axis in "xyz"]].to_numpy() for i in (1, 2)]
    energy = [np.sqrt((p[i] ** 2).sum(axis=1) + raw[f"mj{i + 1}"] ** 2) for i in (0, 1)]
    mass = np.sqrt((energy[0] + energy[1]) ** 2 - ((p[0] + p[1]) ** 2).sum(axis=1))
    np.testing.assert_allclose(data.X[:, data.feature_names.index("mjj")], mass)
    np.testing.assert_allclose(data.X[:, data.feature_names.index("tau21_j2")], raw["tau2j2"] / raw["tau1j2"])
    physics = load_dataset("lhc_olympics?features=physics", path=str(FIXED))
    assert physics.feature_names == ("mass_j1", "tau21_j1", "mass_j2", "tau21_j2")


def _h5(file: Path) -> dict[str, np.ndarray]:
    import h5py

    with h5py.File(file) as content:
        names = [name.decode() for name in content["df/block0_items"]]
        return dict(zip(names, content["df/block0_values"][:].T, strict=True))


def test_lhc_olympics_without_a_file_or_with_another(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs path=FILE: download"):
        load_dataset("lhc_olympics")
    (tmp_path / "raw.csv").write_text("0,1\n1,2\n")
    with pytest.raises(ValueError, match=r"raw\.csv lacks pxj1, .*clustered to jets first"):
        load_dataset("lhc_olympics", path=str(tmp_path / "raw.csv"))


def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skhep_testdata", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'qworkbench\[hep\]'"):
        load_dataset("quark_gluon_jets")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'qworkbench\[tables\]'"):
        load_dataset("keel")
