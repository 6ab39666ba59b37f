"""Data encodings: circuits whose angles are the features.

In every builder more features than qubits is normal: they cycle over the qubits in successive columns, and a
chain of CZ gates stands between the columns. Fewer features than qubits repeat over the qubits. Inputs are
``ParameterVector("x", n_features)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.circuit import library as qiskit_library

from circuits._pieces import (
    ENTANGLEMENTS,
    ENTANGLERS,
    ROTATIONS,
    columns,
    entangle,
    one_of,
    ring,
    rotate,
    separate,
    whole,
)
from circuits.amplitude import AmplitudeEncodingGate
from circuits.circuit import ParameterizedCircuit


def angle_encoding(
    n_features: int,
    n_qubits: int | None = None,
    *,
    rotation: str = "ry",
    scale: float = 1.0,
    n_layers: int = 1,
) -> ParameterizedCircuit:
    """One rotation by ``scale * x`` for each feature.

    With ``rotation="rz"`` a Hadamard column comes before each column, or the state would not depend on x.

    Args:
        n_features: Number of features.
        n_qubits: Number of qubits; ``n_features`` by default.
        rotation: ``"rx"``, ``"ry"`` or ``"rz"``.
        scale: Factor on every feature.
        n_layers: How often the whole upload is repeated, with a CZ chain between.

    Raises:
        ValueError: If a size is below 1, the scale is zero or not finite, or the rotation is unknown.
    """
    n_features, n_qubits = _sizes(n_features, n_qubits)
    one_of("rotation", rotation, ROTATIONS)
    if not np.isfinite(scale) or scale == 0:
        raise ValueError(f"expected a finite scale other than 0, got {scale}")
    x = ParameterVector("x", n_features)
    circuit = QuantumCircuit(n_qubits)
    for i, column in enumerate(columns(n_features, n_qubits) * whole("n_layers", n_layers)):
        if i:
            separate(circuit)
        for qubit, (feature,) in enumerate(column):
            if rotation == "rz":
                circuit.h(qubit)
            rotate(circuit, rotation, x[feature] if scale == 1 else scale * x[feature], qubit)
    return ParameterizedCircuit(circuit, tuple(x))


def dense_angle_encoding(n_features: int, n_qubits: int | None = None, *, n_layers: int = 1) -> ParameterizedCircuit:
    """Two features a qubit: ``cos(a/2)|0> + exp(ib) sin(a/2)|1>`` up to a phase, made by ``RY(a) RZ(b)``.

    LaRose and Coyle 2020 (arXiv:2003.01695); their ``x`` is ``a / 2 pi`` and ``b / 2 pi``.

    Args:
        n_features: Number of features; features ``2q`` and ``2q + 1`` share qubit ``q``.
        n_qubits: Number of qubits; half of ``n_features``, rounded up, by default.
        n_layers: How often the whole upload is repeated, with a CZ chain between.

    Raises:
        ValueError: If a size is below 1.
    """
    n_features = whole("n_features", n_features)
    n_qubits = (n_features + 1) // 2 if n_qubits is None else whole("n_qubits", n_qubits)
    x = ParameterVector("x", n_features)
    circuit = QuantumCircuit(n_qubits)
    for i, column in enumerate(columns(n_features, n_qubits, per_qubit=2) * whole("n_layers", n_layers)):
        if i:
            separate(circuit)
        for qubit, features in enumerate(column):
            for rotation, feature in zip(("ry", "rz"), features, strict=False):
                rotate(circuit, rotation, x[feature], qubit)
    return ParameterizedCircuit(circuit, tuple(x))


def zz_feature_map(
    n_features: int, n_qubits: int | None = None, *, n_layers: int = 2, entanglement: str = "full"
) -> ParameterizedCircuit:
    """Hadamards, phases ``2 x_i`` and ZZ phases ``2 (pi - x_i)(pi - x_j)``, ``n_layers`` times.

    Havlicek et al. 2019 (Nature 567, 209; arXiv:1804.11326) in Qiskit's convention; the same circuit
    as Qiskit's ``zz_feature_map`` when ``n_qubits == n_features``.

    Args:
        n_features: Number of features.
        n_qubits: Number of qubits; ``n_features`` by default.
        n_layers: Repetitions.
        entanglement: Which pairs interact: full, linear, reverse_linear, circular or pairwise.

    Raises:
        ValueError: If a size is below 1 or the entanglement is unknown.
    """
    return pauli_feature_map(n_features, n_qubits, n_layers=n_layers, entanglement=entanglement)


def pauli_feature_map(
    n_features: int,
    n_qubits: int | None = None,
    *,
    paulis: Sequence[str] = ("Z", "ZZ"),
    n_layers: int = 2,
    entanglement: str = "full",
    alpha: float = 2.0,
) -> ParameterizedCircuit:
    """Hadamards and ``exp(-i alpha phi(x) P / 2)`` up to a phase for each Pauli string, ``n_layers`` times.

    ``phi(x_i) = x_i`` and ``phi(x_i, x_j, ...) = (pi - x_i)(pi - x_j)...``; Havlicek et al. 2019, made by
    Qiskit's ``pauli_feature_map``. A column narrower than a Pauli string leaves that string out.

    Args:
        n_features: Number of features.
        n_qubits: Number of qubits; ``n_features`` by default.
        paulis: Pauli strings such as ``"Z"``, ``"ZZ"``, ``"XYZ"``.
        n_layers: Repetitions.
        entanglement: Which qubits a longer string couples: full, linear, reverse_linear, circular, pairwise.
        alpha: Factor on every angle.

    Raises:
        ValueError: If a size is below 1, a name is unknown, or no Pauli string fits on a column.
    """
    n_features, n_qubits = _sizes(n_features, n_qubits)
    one_of("entanglement", entanglement, ENTANGLEMENTS)
    _check_paulis(paulis)
    x = ParameterVector("x", n_features)
    circuit = QuantumCircuit(n_qubits)
    placed = columns(n_features, n_qubits)
    for _ in range(whole("n_layers", n_layers)):
        for i, column in enumerate(placed):
            if i:
                separate(circuit)
            fitting = [pauli for pauli in paulis if len(pauli) <= len(column)]
            if not fitting:
                raise ValueError(
                    f"expected a Pauli string of at most {len(column)} letters, the width of a column of "
                    f"{n_features} features on {n_qubits} qubits; got {list(paulis)}"
                )
            block = qiskit_library.pauli_feature_map(
                len(column),
                reps=1,
                entanglement=entanglement,
                paulis=fitting,
                alpha=alpha,
                parameter_prefix="_column",
            )
            values = {p: x[column[p.index][0]] for p in block.parameters}
            circuit.compose(block.assign_parameters(values), range(len(column)), inplace=True)
    return ParameterizedCircuit(circuit, tuple(x))


def iqp_encoding(n_features: int, n_qubits: int | None = None, *, n_layers: int = 1) -> ParameterizedCircuit:
    """Instantaneous quantum polynomial: Hadamards, ``RZ(x_i)``, ``RZZ(x_i x_j)`` on all pairs, repeated.

    Havlicek et al. 2019 with the angles of PennyLane's ``IQPEmbedding``.

    Args:
        n_features: Number of features.
        n_qubits: Number of qubits; ``n_features`` by default.
        n_layers: Repetitions.

    Raises:
        ValueError: If a size is below 1.
    """
    n_features, n_qubits = _sizes(n_features, n_qubits)
    x = ParameterVector("x", n_features)
    circuit = QuantumCircuit(n_qubits)
    placed = columns(n_features, n_qubits)
    for _ in range(whole("n_layers", n_layers)):
        for i, column in enumerate(placed):
            if i:
                separate(circuit)
            for qubit, (feature,) in enumerate(column):
                circuit.h(qubit)
                circuit.rz(x[feature], qubit)
            for a, b in ENTANGLEMENTS["full"](len(column)):
                circuit.rzz(x[column[a][0]] * x[column[b][0]], a, b)
    return ParameterizedCircuit(circuit, tuple(x))


def amplitude_encoding(n_features: int) -> ParameterizedCircuit:
    """The features as amplitudes: ``sum_k x_k |k> / |x|`` in Qiskit's (little-endian) order.

    Takes ``ceil(log2(n_features))`` qubits; missing amplitudes are zero. Mottonen et al. 2004
    (quant-ph/0407010); see ``AmplitudeEncodingGate``.

    Args:
        n_features: Number of features, at least 2: normalising a single one leaves no information.

    Raises:
        ValueError: If ``n_features`` is below 2.
    """
    n_features = whole("n_features", n_features, minimum=2)
    n_qubits = (n_features - 1).bit_length()
    x = ParameterVector("x", n_features)
    circuit = QuantumCircuit(n_qubits)
    circuit.append(AmplitudeEncodingGate([*x, *[0.0] * (2**n_qubits - n_features)]), range(n_qubits))
    return ParameterizedCircuit(circuit, tuple(x))


def hamiltonian_encoding(
    n_features: int,
    n_qubits: int | None = None,
    *,
    n_trotter: int = 20,
    evolution_time: float | None = None,
    seed: int | np.random.Generator = 0,
) -> ParameterizedCircuit:
    """Trotterised Heisenberg chain: ``(prod_j exp(-i t/T x_j (XX + YY + ZZ)))^T`` on a random product state.

    Huang et al. 2021 (Nat. Commun. 12, 2631; arXiv:2011.01938). Feature ``j`` is the coupling of
    qubits ``j`` and ``j + 1``; on a narrower register the features cycle over the bonds, on a wider one they
    repeat. The three terms of a bond commute, so only the product over bonds is a Trotter step.

    Args:
        n_features: Number of features.
        n_qubits: Number of qubits; ``n_features + 1`` by default.
        n_trotter: Trotter steps T.
        evolution_time: Time t; ``n_features / 3`` by default, as in the paper.
        seed: Draws the initial state: one Haar-random state for each qubit.

    Raises:
        ValueError: If a size is below 1, or one bond would hold the sum of several features.
    """
    n_features = whole("n_features", n_features)
    n_qubits = n_features + 1 if n_qubits is None else whole("n_qubits", n_qubits)
    needed = 2 if n_features == 1 else 3
    if n_qubits < needed:
        raise ValueError(f"expected n_qubits >= {needed} to couple {n_features} features in a chain, got {n_qubits}")
    time = n_features / 3 if evolution_time is None else evolution_time
    if not np.isfinite(time) or time <= 0:
        raise ValueError(f"expected a positive evolution_time, got {time}")
    n_trotter = whole("n_trotter", n_trotter)
    x = ParameterVector("x", n_features)
    circuit = _random_product_state(n_qubits, np.random.default_rng(seed))
    for _ in range(n_trotter):
        for term in range(max(n_features, n_qubits - 1)):
            bond = term % (n_qubits - 1)
            angle = 2 * time / n_trotter * x[term % n_features]
            for coupling in (circuit.rxx, circuit.ryy, circuit.rzz):
                coupling(angle, bond, bond + 1)
    return ParameterizedCircuit(circuit, tuple(x))


def data_reuploading(
    n_features: int,
    n_qubits: int | None = None,
    *,
    n_layers: int = 3,
    entangler: str = "cz",
    trainable_scaling: bool = True,
) -> ParameterizedCircuit:
    """Every layer uploads all features, entangles the qubits in a ring and turns them by trainable angles.

    Perez-Salinas et al. 2020 (Quantum 4, 226; arXiv:1907.02085). An upload is ``RY((1 + s) x + b)`` with
    trainable ``s`` and ``b``, so weights near zero start from the plain encoding; then come the ring and
    ``RZ(w) RY(w)`` on each qubit. The rotations stand last, so that no gate is lost on a read-out of Z. With
    "cz" a layer carries information one neighbour further, with "cx" to qubit 0 from the whole register.

    Weights, layer by layer: the ``s`` of its ``max(n_features, n_qubits)`` uploads, their ``b``, then RZ and
    RY of each qubit.

    Args:
        n_features: Number of features.
        n_qubits: Number of qubits; ``n_features`` by default.
        n_layers: Number of layers.
        entangler: ``"cz"``, ``"cx"``, ``"iswap"`` or ``"none"``.
        trainable_scaling: False uploads ``RY(x)``, without ``s`` and ``b``.

    Raises:
        ValueError: If a size is below 1 or the entangler is unknown.
    """
    n_features, n_qubits = _sizes(n_features, n_qubits)
    n_layers = whole("n_layers", n_layers)
    one_of("entangler", entangler, ENTANGLERS)
    placed = columns(n_features, n_qubits)
    n_uploads = sum(map(len, placed))
    n_scaling = 2 * n_uploads if trainable_scaling else 0
    x = ParameterVector("x", n_features)
    w = ParameterVector("w", n_layers * (n_scaling + 2 * n_qubits))
    weights = iter(w)
    circuit = QuantumCircuit(n_qubits)
    for _ in range(n_layers):
        scaling = [next(weights) for _ in range(n_scaling)]
        pairs = iter(zip(scaling[:n_uploads], scaling[n_uploads:], strict=True))
        for i, column in enumerate(placed):
            if i:
                separate(circuit, entangler)
            for qubit, (feature,) in enumerate(column):
                s, b = next(pairs, (0, 0))
                circuit.ry((1 + s) * x[feature] + b, qubit)
        entangle(circuit, ring(n_qubits), entangler)
        for qubit in range(n_qubits):
            circuit.rz(next(weights), qubit)
            circuit.ry(next(weights), qubit)
    return ParameterizedCircuit(circuit, tuple(x), tuple(w))


def _sizes(n_features: int, n_qubits: int | None) -> tuple[int, int]:
    n_features = whole("n_features", n_features)
    return n_features, n_features if n_qubits is None else whole("n_qubits", n_qubits)


def _check_paulis(paulis: Sequence[str]) -> None:
    if isinstance(paulis, str) or not paulis or not all(p and set(p) <= set("IXYZ") for p in paulis):
        raise ValueError(f"expected a list of Pauli strings such as ('Z', 'ZZ'), got {paulis!r}")


def _random_product_state(n_qubits: int, rng: np.random.Generator) -> QuantumCircuit:
    circuit = QuantumCircuit(n_qubits)
    # Uniform on the Bloch sphere: the height is uniform in [-1, 1].
    for qubit, (height, azimuth) in enumerate(rng.uniform((-1, 0), (1, 2 * np.pi), (n_qubits, 2))):
        circuit.ry(float(np.arccos(height)), qubit)
        circuit.rz(float(azimuth), qubit)
    return circuit
