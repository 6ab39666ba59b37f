"""Error mitigation in counts and expectation values, on any backend that runs circuits.

Zero-noise extrapolation by gate folding (Giurgica-Tiron et al. 2020, arXiv:2005.10921; Temme, Bravyi & Gambetta 2017),
and readout correction qubit by qubit (Bravyi et al. 2021, arXiv:2006.14044). Shots are a budget: what mitigation needs
is taken from the shots that were asked for, never added to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import get_standard_gate_name_mapping

from qworkbench.backend import MITIGATION, Backend
from qworkbench.errors import unknown_name

Translation = Callable[[QuantumCircuit], QuantumCircuit]
"""To a target's own gates."""
METHODS = ("readout", "zne")
_STANDARD = frozenset(get_standard_gate_name_mapping())
RESOLVED = 3.0
"""Standard errors that a value must stand away from 0 to show how it decays."""
GAUSS_NEWTON_STEPS = 20
WORST_READOUT = 0.9
"""``P(1|0) + P(0|1)`` from which on a qubit's readout holds too little information to be inverted."""


@dataclass(frozen=True)
class Mitigation:
    """What is done against noise.

    Raises:
        ValueError: If a scale is below 1, there are too few different ones for the fit, or the fit is unknown.
    """

    readout: bool = False
    """Whether readout errors are calibrated and corrected."""
    scales: tuple[float, ...] = (1.0,)
    """Noise scales; one scale alone is no extrapolation but just that much noise."""
    fit: str = "linear"
    """A key of ``FITS``."""

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise unknown_name("extrapolation", self.fit, FITS)
        if not self.scales or not all(np.isfinite(s) and s >= 1 for s in self.scales):
            raise ValueError(f"expected noise scales of at least 1, got {list(self.scales)}")
        if len(set(self.scales)) != len(self.scales):
            raise ValueError(f"expected different noise scales, got {list(self.scales)}")

    @property
    def needs(self) -> frozenset[str]:
        """What a runner has to offer: ``fold``, ``readout``."""
        return frozenset({"fold"} if self.scales != (1.0,) else ()) | frozenset({"readout"} if self.readout else ())

    @classmethod
    def of(cls, backend: Backend) -> Mitigation:
        """From the options of a backend.

        ``mitigation=zne``, ``mitigation=readout`` or ``mitigation=readout,zne``, with ``zne_scales=1,3`` and
        ``zne_fit=linear``; or ``noise_scale=3`` to see the noise grow.

        Raises:
            ValueError: If an option is wrong, or does nothing beside the others.
        """
        given = {key: value for key in MITIGATION if (value := backend.option(key)) is not None}
        methods = given.pop("mitigation", "").split(",") if "mitigation" in given else []
        for method in methods:
            if method not in METHODS:
                raise unknown_name("mitigation method", method, METHODS)
        if "zne" not in methods:
            idle = [key for key in given if key.startswith("zne")]
            if idle:
                raise ValueError(f"expected mitigation=zne with {idle[0]}, got {str(backend)!r}")
            return cls("readout" in methods, _numbers("noise_scale", given.get("noise_scale", "1")))
        if "noise_scale" in given:
            raise ValueError(f"expected either noise_scale or mitigation=zne, got {str(backend)!r}")
        scales = _numbers("zne_scales", given.get("zne_scales", "1,3"))
        if len(scales) < 2:
            raise ValueError(f"expected at least two noise scales to extrapolate from, got {list(scales)}")
        return cls("readout" in methods, scales, given.get("zne_fit", "linear"))


def _numbers(key: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected numbers joined by ',' for {key}, got {text!r}") from None


def fold(circuit: QuantumCircuit, scale: float, translate: Translation | None = None) -> QuantumCircuit:
    """The same unitary with ``scale`` times as many two-qubit gates, each G in part becoming ``G (G^-1 G)^k``.

    Two-qubit gates carry most of a device's noise, and their inverses are gates of the device as well. Fold what a
    transpiler has finished: one that optimises would cancel the folds. A circuit without two-qubit gates is folded by
    its other gates.

    Args:
        circuit: A circuit in a target's own gates; it may end in measurements.
        scale: Noise scale; odd numbers always work, others if a whole number of folds gives them.
        translate: Inverses of one-qubit gates to the target's own gates, if they are not; it must not optimise.

    Raises:
        ValueError: If the circuit cannot have that scale.
    """
    gates = [k for k, gate in enumerate(circuit.data) if not gate.clbits and gate.name not in ("barrier", "delay")]
    places = [k for k in gates if len(circuit.data[k].qubits) == 2] or gates
    if scale == 1 or not places:
        return circuit
    folds = round((scale - 1) / 2 * len(places))
    if not np.isclose(1 + 2 * folds / len(places), scale):
        raise ValueError(
            f"expected a noise scale in steps of 2/{len(places)} for a circuit with {len(places)} gates to fold, got "
            f"{scale:g}; odd numbers always work"
        )
    for k in places:
        gate = circuit.data[k].operation
        if (inverse := gate.inverse().name) not in _STANDARD and inverse != gate.name:
            raise ValueError(f"a circuit with the gate {gate.name!r} cannot be folded: its inverse is no device's gate")
    # Spread evenly, so that no part of the circuit carries all of the additional noise.
    edges = np.arange(len(places) + 1) * folds // len(places)
    extra = dict(zip(places, np.diff(edges), strict=True))
    result = circuit.copy_empty_like()
    for k, gate in enumerate(circuit.data):
        result.append(gate)
        for _ in range(extra.get(k, 0)):
            result.append(gate.operation.inverse(), gate.qubits)
            result.append(gate)
    single = len(circuit.data[places[0]].qubits) == 1
    return translate(result) if single and translate is not None else result


def polynomial_weights(scales: Sequence[float], order: int) -> np.ndarray:
    """Weights ``(S,)`` that turn values at the scales into the least-squares polynomial's value at 0."""
    return np.linalg.pinv(np.vander(scales, order + 1, increasing=True))[0]


def _weighted(values: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.tensordot(weights, values, 1), np.sqrt(np.tensordot(weights**2, errors**2, 1))


Fit = Callable[[np.ndarray, np.ndarray, Sequence[float]], tuple[np.ndarray, np.ndarray]]


def _linear(values: np.ndarray, errors: np.ndarray, scales: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    return _weighted(values, errors, polynomial_weights(scales, 1))


def _richardson(values: np.ndarray, errors: np.ndarray, scales: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    return _weighted(values, errors, polynomial_weights(scales, len(scales) - 1))


def _exponential(values: np.ndarray, errors: np.ndarray, scales: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """``a exp(-b scale)`` by weighted least squares; a line where the two lowest levels do not fix the decay."""
    mean, error = _linear(values, errors, scales)
    first, second = np.argsort(scales)[:2]
    low = values[[first, second]]
    resolved = (np.sign(low[0]) == np.sign(low[1])) & (
        np.abs(low) > np.maximum(RESOLVED * errors[[first, second]], 1e-12)
    ).all(axis=0)
    start = np.where(resolved, low, 1.0)
    rate = np.log(start[0] / start[1]) / (scales[second] - scales[first])
    size = start[0] * np.exp(rate * scales[first])
    s = np.reshape(scales, (-1, *[1] * mean.ndim))
    # A sample whose shots all agree has no error of its own, but is not exact.
    sigma = np.maximum(errors, errors.max(axis=0) / 10)
    weight = np.where(sigma > 0, 1 / np.where(sigma > 0, sigma, 1.0) ** 2, 1.0)
    stride = 0.5 / max(scales)
    for _ in range(GAUSS_NEWTON_STEPS):
        decay = np.exp(-rate * s)
        slopes = np.stack([decay, -size * s * decay], axis=-1)[..., None]
        curvature = (weight[..., None, None] * slopes * np.swapaxes(slopes, -1, -2)).sum(axis=0)
        pull = (weight * (values - size * decay))[..., None, None] * slopes
        covariance = np.linalg.pinv(curvature)
        change = (covariance @ pull.sum(axis=0))[..., 0]
        size, rate = size + change[..., 0], rate + change[..., 1].clip(-stride, stride)
    spread = np.sqrt(covariance[..., 0, 0]) * (errors.max(axis=0) > 0)
    fits = resolved & np.isfinite(size) & (spread < np.abs(size))
    return np.where(fits, size, mean), np.where(fits, spread, error)


FITS: dict[str, Fit] = {"linear": _linear, "richardson": _richardson, "exponential": _exponential}
"""Extrapolations to zero noise: a line, the polynomial through all values, an exponential decay to 0."""


def extrapolate(
    values: np.ndarray, errors: np.ndarray, scales: Sequence[float], fit: str = "linear"
) -> tuple[np.ndarray, np.ndarray]:
    """Values at noise scale 0, with standard errors.

    Args:
        values: Shape ``(S, ...)``, one entry a scale.
        errors: Their standard errors, same shape; independent between scales.
        scales: The ``S`` noise scales; a single one gives its values back.
        fit: A key of ``FITS``.

    Returns:
        Two arrays of shape ``(...)``.

    Raises:
        ValueError: If the fit is unknown, or there is not one value for each of the different scales.
    """
    if fit not in FITS:
        raise unknown_name("extrapolation", fit, FITS)
    values, errors = np.asarray(values, dtype=float), np.asarray(errors, dtype=float)
    if len(values) != len(scales) or values.shape != errors.shape or len(set(scales)) != len(scales):
        raise ValueError(
            f"expected one value and one error for each of the different scales {list(scales)}, got shapes "
            f"{values.shape} and {errors.shape}"
        )
    return (values[0], errors[0]) if len(scales) == 1 else FITS[fit](values, errors, scales)


@dataclass(frozen=True)
class Readout:
    """A calibrated readout, qubit by qubit: what a measured 0 and 1 count for in ``<Z>``, so that errors cancel."""

    eigenvalues: np.ndarray
    """Shape ``(n_qubits, 2)``; ``[[1, -1], ...]`` for a perfect readout."""
    steps: np.ndarray
    """How far a standard error of ``P(1|0)`` and one of ``P(0|1)`` moves each pair, shape ``(2, n_qubits, 2)``."""

    @classmethod
    def calibrated(cls, zeros: Mapping[int, int], ones: Mapping[int, int], n_qubits: int) -> Readout:
        """From counts with all qubits prepared in 0, and in 1. Errors of several qubits at once are not seen.

        With ``e0 = P(1|0)``, ``e1 = P(0|1)`` and ``d = 1 - e0 - e1`` the eigenvalues are ``(1 + e0 - e1) / d`` and
        ``(-1 + e0 - e1) / d``.

        Raises:
            ValueError: If a qubit's readout is close to a coin toss.
        """
        first, second = _ones(zeros, n_qubits), 1 - _ones(ones, n_qubits)
        determinant = 1 - first - second
        if determinant.min() < 1 - WORST_READOUT:
            qubit = int(determinant.argmin())
            raise ValueError(
                f"expected readout errors to correct, got P(1|0) + P(0|1) = {1 - determinant[qubit]:.2f} on measured "
                f"qubit {qubit}: its readout is close to a coin toss"
            )
        signs = np.array([1.0, -1.0])
        values = (signs + (first - second)[:, None]) / determinant[:, None]
        errors = [_deviation(share, sum(counts.values())) for share, counts in ((first, zeros), (second, ones))]
        slopes = [(values + sign) / determinant[:, None] for sign in signs]
        steps = np.stack([slope * error[:, None] for slope, error in zip(slopes, errors, strict=True)])
        return cls(values, steps)

    def corrected(
        self, estimate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """An estimate with its standard errors, those of the calibration included.

        Args:
            estimate: Eigenvalues -> means and their errors for exactly these eigenvalues.
        """
        mean, error = estimate(self.eigenvalues)
        variance = error**2
        for step in self.steps:
            for qubit in range(len(self.eigenvalues)):
                moved = self.eigenvalues.copy()
                moved[qubit] += step[qubit]
                variance = variance + (estimate(moved)[0] - mean) ** 2
        return mean, np.sqrt(variance)


def _deviation(share: np.ndarray, shots: int) -> np.ndarray:
    """The standard error of a share; half a count more, so that none seen is not taken for none at all."""
    smoothed = (share * shots + 0.5) / (shots + 1)
    return np.sqrt(smoothed * (1 - smoothed) / shots)


def _ones(counts: Mapping[int, int], n_qubits: int) -> np.ndarray:
    """The share of shots in which each qubit was 1, shape ``(n_qubits,)``."""
    outcomes, shots = np.array(list(counts), dtype=np.uint64), np.array(list(counts.values()), dtype=float)
    bits = (outcomes[:, None] >> np.arange(n_qubits, dtype=np.uint64)) & np.uint64(1)
    return shots @ bits / shots.sum()
