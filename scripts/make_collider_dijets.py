"""Make the shipped table qworkbench/datasets/data/collider_dijets.npz; takes about five minutes.

Proton collisions at 13 TeV at particle level (no detector). Visible particles with |eta| < 2.5 and
pT > 0.5 GeV are clustered with anti-kT, R = 0.8; an event is kept if two jets have pT > 200 GeV and their
mass is above 1 TeV.

    pip install pythia8mc==8.317.2 fastjet==3.5.2.0

    python scripts/make_collider_dijets.py collider_dijets.npz
    python scripts/make_collider_dijets.py trial.npz --events 100
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import fastjet
import numpy as np
import pythia8mc

RADIUS = 0.8
COMMON = ("Print:quiet = on", "Beams:eCM = 13000.", "Random:setSeed = on")
GRAVITON = (
    "ExtraDimensionsG*:gg2G* = on",
    "ExtraDimensionsG*:ffbar2G* = on",
    "5100039:m0 = 1500.",
    "ExtraDimensionsG*:kappaMG = 0.2",
    "5100039:onMode = off",
)
PROCESSES: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "qcd": (8000, 20261, ("HardQCD:all = on", "PhaseSpace:pTHatMin = 500.")),
    "graviton_ww": (
        2500,
        20262,
        (*GRAVITON, "5100039:onIfMatch = 24 -24", "24:onMode = off", "24:onIfAny = 1 2 3 4 5"),
    ),
    "graviton_hh": (
        2500,
        20263,
        (*GRAVITON, "5100039:onIfMatch = 25 25", "25:onMode = off", "25:onIfMatch = 5 -5"),
    ),
}
"""Process -> number of events, seed, Pythia settings."""
JET_FEATURES = ("pt", "eta", "mass", "n_constituents", "tau1", "tau21", "tau32")
FEATURES = ("mjj", "delta_eta_jj", *(f"{name}_{jet}" for jet in ("j1", "j2") for name in JET_FEATURES))


def n_subjettiness(constituents: list[Any], n_axes: int) -> float:
    """tau_N with beta = 1 about the axes of exclusive kT (Thaler and Van Tilburg, arXiv:1011.2268)."""
    if len(constituents) < n_axes:
        return 0.0
    clusters = fastjet.ClusterSequence(constituents, fastjet.JetDefinition(fastjet.kt_algorithm, 1.0))
    axes = np.array([[jet.eta(), jet.phi()] for jet in clusters.exclusive_jets(n_axes)])
    eta, phi, pt = np.array([[p.eta(), p.phi(), p.perp()] for p in constituents]).T
    d_eta = eta[:, None] - axes[:, 0]
    d_phi = np.abs(phi[:, None] - axes[:, 1])
    d_phi = np.minimum(d_phi, 2 * np.pi - d_phi)
    nearest = np.sqrt(d_eta**2 + d_phi**2).min(axis=1)
    return float((pt * nearest).sum() / (pt.sum() * RADIUS))


def event_features(event: Any) -> list[float] | None:
    """The values of FEATURES, GeV where a mass or momentum; None if the event is not kept."""
    particles = [
        fastjet.PseudoJet(p.px(), p.py(), p.pz(), p.e())
        for p in event
        if p.isFinal() and p.isVisible() and abs(p.eta()) < 2.5 and p.pT() > 0.5
    ]
    clusters = fastjet.ClusterSequence(particles, fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS))
    jets = fastjet.sorted_by_pt(clusters.inclusive_jets(200.0))[:2]
    if len(jets) < 2:
        return None
    pair = jets[0] + jets[1]
    if pair.m() < 1000:
        return None
    row = [pair.m(), abs(jets[0].eta() - jets[1].eta())]
    for jet in jets:
        constituents = list(jet.constituents())
        tau1, tau2, tau3 = (n_subjettiness(constituents, n) for n in (1, 2, 3))
        row += [jet.perp(), jet.eta(), jet.m(), len(constituents)]
        row += [tau1, tau2 / (tau1 + 1e-9), tau3 / (tau2 + 1e-9)]
    return row


def generate(process: str, n_events: int) -> np.ndarray:
    """Events of one process, shape (n_events, 16), float32."""
    _, seed, settings = PROCESSES[process]
    pythia = pythia8mc.Pythia("", False)
    for setting in (*COMMON, f"Random:seed = {seed}", *settings):
        if not pythia.readString(setting):
            raise ValueError(f"Pythia refuses the setting {setting!r}")
    if not pythia.init():
        raise RuntimeError(f"Pythia does not start for {process}")
    rows: list[list[float]] = []
    while len(rows) < n_events:
        if pythia.next() and (row := event_features(pythia.event)):
            rows.append(row)
    return np.array(rows, np.float32)


def main() -> None:
    """Generate every process and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the .npz file to write")
    parser.add_argument("--events", type=int, help="events a process; by default those of the shipped file")
    arguments = parser.parse_args()
    tables: dict[str, Any] = {"feature_names": np.array(FEATURES)}
    for process, (n_events, _, _) in PROCESSES.items():
        tables[process] = generate(process, arguments.events or n_events)
        print(process, tables[process].shape, f"median mjj {np.median(tables[process][:, 0]):.0f} GeV")
    np.savez_compressed(arguments.output, **tables)


if __name__ == "__main__":
    main()
