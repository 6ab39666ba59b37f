"""What keeps a narrow model's score right: what it never saw counts, and its background stays above noise."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.spatial import cKDTree
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score

from qworkbench.models.components import LARGEST

NOISE_EVENTS = 500
"""Uniform events of the check against noise, and training events at most."""
SAFE = 4.0
"""Standard deviations above chance that are asked of the area under the curve, which few events of noise measure."""
CERTAIN = 2.0
"""Standard deviations below chance that make the case clear."""
SHARES = (1.0, 10.0)
"""How many times the say of the rest the densities of the features get, in this order, where they are needed."""
FLOOR = 0.5 + 1 / math.sqrt(NOISE_EVENTS)
"""An area from which other noise stays above one half: the area is a mean over the noise of shares, which deviate by at
most one half, so this is two standard deviations above. Below it the densities do not do."""
NEAREST_SHARES = (1.0, 10.0, 100.0)
"""The same for the distance from the nearest training event."""
MOST_BINS = 20
DECIMALS = 12
"""Of the sum: equal events score the same, however the simulator rounds in batches of another size."""


class Trial(NamedTuple):
    """Training events and uniform noise in their box."""

    rows: np.ndarray
    """``(N, F)``, the training events first."""
    n_real: int

    def auc(self, oddness: np.ndarray) -> float:
        """Area under the ROC curve: how often an event of the training scores as more normal than noise."""
        return float(roc_auc_score(np.arange(len(self.rows)) < self.n_real, -oddness))

    @property
    def deviation(self) -> float:
        """Standard deviation of that area for scores that cannot tell (Mann & Whitney 1947)."""
        n_noise = len(self.rows) - self.n_real
        return math.sqrt((len(self.rows) + 1) / (12 * self.n_real * n_noise))

    @property
    def safe(self) -> float:
        """The area that other noise will hardly turn into one below one half."""
        return 0.5 + SAFE * self.deviation


def draw_trial(events: np.ndarray, seed: int) -> Trial:
    """At most ``NOISE_EVENTS`` of the training events, and as many of noise as that in their box."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(events.min(axis=0), events.max(axis=0), (NOISE_EVENTS, events.shape[1]))
    real = events[rng.permutation(len(events))[:NOISE_EVENTS]]
    return Trial(np.concatenate([real, noise]), len(real))


class Safeguard(BaseEstimator):
    """Adds to a model's oddness what the model cannot know, in the model's units.

    ``own + a * missed + b * marginal + c * nearest``. *missed* is the distance of an event from what the model was
    shown of it: what its principal components leave out and what lies beyond its angles. a gives it the same spread
    over the training events as the model's own oddness. The other two are classical, and take part, with a warning
    where the case is clear, only if uniform noise in the box of the training events scores as normal as they do:

    - *marginal* is minus the log density of the features one by one, each a histogram (Goldstein & Dengel 2012,
      HBOS). Its mean over noise is never below that over the events (Gibbs' inequality). Modes in the corners of a box,
      rings and binary columns need it, since every model that knows a centre alone takes what lies between for more
      normal.
    - *nearest* is the distance from the nearest of at most ``NOISE_EVENTS`` training events, in widths of the box. It
      takes the place of the densities where these do not tell either: shells in three dimensions, whose features
      are uniform one by one, and a handful of events. It is 0 at the events themselves, so it cannot fail there.

    A fitted one has ``missed_weight_`` a, ``marginal_weight_`` b, ``nearest_weight_`` c, ``classical_share_``, the part
    that b and c have in the spread of the score over events and noise (0: none of it, 1: all of it), ``noise_auc_``,
    see ``Trial.auc``, and ``own_auc_``, the same without b and c.
    """

    def fit(self, events: np.ndarray, trial: Trial, own: np.ndarray, missed: np.ndarray) -> Self:
        """Set the weights.

        Args:
            events: Training events, shape ``(N, F)``.
            trial: Drawn from them.
            own: The model's oddness of the trial's rows, higher is odder.
            missed: The distance of those from what the model was shown, at least 0.
        """
        real = slice(trial.n_real)
        self.missed_weight_ = _spread(own[real]) / _spread(missed[real])
        self.marginal_weight_ = self.nearest_weight_ = self.classical_share_ = 0.0
        self.low_, self.high_ = events.min(axis=0), events.max(axis=0)
        self.table_ = _histograms(events, self.low_, self.high_)
        self.events_ = trial.rows[:0]
        known = _rounded(own + self.missed_weight_ * missed)
        self.own_auc_ = self.noise_auc_ = trial.auc(known)
        if self.own_auc_ < trial.safe:
            marginal = self._marginal(trial.rows)
            unit = _spread(known[real]) / _spread(marginal[real])
            self.marginal_weight_ = self._weight(trial, known, marginal, unit, SHARES, trial.safe)
            self._note_share(known, self.marginal_weight_ * marginal)
        if self.noise_auc_ < FLOOR:
            self.events_ = trial.rows[real]
            nearest = self._nearest(trial.rows)
            unit = _spread(known) / _spread(nearest)
            self.nearest_weight_ = self._weight(trial, known, nearest, unit, NEAREST_SHARES, FLOOR)
            if self.nearest_weight_:
                self.marginal_weight_ = 0.0
                self._note_share(known, self.nearest_weight_ * nearest)
        if self.own_auc_ < 0.5 - CERTAIN * trial.deviation:
            part = "distance from the nearest training row" if self.nearest_weight_ else "densities of single features"
            warnings.warn(
                f"the detector by itself ranks its training background below uniform noise (ROC AUC {self.own_auc_:.2f}"
                f"); with the {part}, {self.classical_share_:.0%} of the score's spread now, it is "
                f"{self.noise_auc_:.2f}: use more layers or qubits, train longer, or take another detector",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _weight(
        self, trial: Trial, known: np.ndarray, part: np.ndarray, unit: float, shares: tuple[float, ...], enough: float
    ) -> float:
        """The first weight that gives an area of ``enough``, else the one that gives the largest; 0 if none helps."""
        best = 0.0
        for share in shares:
            found = trial.auc(known + share * unit * part)
            if found > self.noise_auc_:
                self.noise_auc_, best = found, share * unit
            if found >= enough:
                break
        return best

    def _note_share(self, known: np.ndarray, classical: np.ndarray) -> None:
        if classical.any():
            self.classical_share_ = _spread(classical) / (_spread(classical) + _spread(known))

    def oddness(self, X: np.ndarray, own: np.ndarray, missed: np.ndarray) -> np.ndarray:
        """Oddness of events ``X`` of shape ``(N, F)`` of which these parts are known, shape ``(N,)``."""
        total: np.ndarray = own + self.missed_weight_ * missed
        if self.marginal_weight_:
            total = total + self.marginal_weight_ * self._marginal(X)
        if self.nearest_weight_:
            total = total + self.nearest_weight_ * self._nearest(X)
        return _rounded(total)

    def summary(self) -> dict[str, float]:
        """The weights, the share of the classical part and both areas, by name, for records."""
        names = ("missed_weight", "marginal_weight", "nearest_weight", "classical_share", "own_auc", "noise_auc")
        return {name: float(getattr(self, f"{name}_")) for name in names}

    def _nearest(self, X: np.ndarray) -> np.ndarray:
        width = np.where(self.high_ > self.low_, self.high_ - self.low_, 1.0)
        with np.errstate(over="ignore"):
            scaled = [np.clip((rows - self.low_) / width, -LARGEST, LARGEST) for rows in (self.events_, X)]
        distance: np.ndarray = cKDTree(scaled[0]).query(scaled[1])[0]
        return distance

    def _marginal(self, X: np.ndarray) -> np.ndarray:
        n_bins = self.table_.shape[1]
        width = np.where(self.high_ > self.low_, self.high_ - self.low_, 1.0) / n_bins
        with np.errstate(over="ignore"):
            place = np.clip((X - self.low_) / width, -LARGEST, LARGEST)
        bins = np.clip(place, 0, n_bins - 1).astype(int)
        beyond = np.clip(np.maximum(-place, place - n_bins), 0, None)
        return (0.5 * beyond**2 - self.table_[np.arange(X.shape[1]), bins]).sum(axis=1)


def _rounded(oddness: np.ndarray) -> np.ndarray:
    return np.where(np.abs(oddness) < 1, np.round(np.clip(oddness, -1, 1), DECIMALS), oddness)


def _spread(values: np.ndarray) -> float:
    """Half the range of the middle two thirds, 1 if there is none: no far event moves it."""
    low, high = np.quantile(values, (0.16, 0.84))
    return float(high - low) / 2 if high - low > 1e-9 else 1.0


def _histograms(X: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Log density of each feature by bin, against a uniform one, shape ``(F, n_bins)``."""
    n_bins = int(np.clip(math.isqrt(len(X)), 2, MOST_BINS))
    width = np.where(high > low, high - low, 1.0)
    bins = np.clip((X - low) / width * n_bins, 0, n_bins - 1).astype(int)
    counts = np.stack([np.bincount(column, minlength=n_bins) for column in bins.T])
    return np.log((counts + 1) / (len(X) + n_bins) * n_bins)


def safeguard_summary(model: Any) -> dict[str, float] | None:
    """What keeps a fitted detector, or the last step of a pipeline, above noise; None if it has no ``Safeguard``."""
    last = model[-1] if hasattr(model, "steps") else model
    guard = getattr(last, "safeguard_", None)
    return None if guard is None else guard.summary()
