"""Further peers, with the extra ``bench``: tensorcircuit-ng in JAX and in torch, qulacs, qiskit-machine-learning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.contestants import Contestant, Step, StepResult, torch_step
from benchmarks.workloads import GateCall, Workload

_TENSORCIRCUIT = {"p": "phase", "cp": "cphase", "cx": "cnot", "ccx": "toffoli", "cswap": "fredkin"}
_SQRT_X = np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2
_H = np.array([[1, 1], [1, -1]]) / np.sqrt(2)


def _tensorcircuit_gate(circuit: Any, gate: GateCall, angle: Any) -> None:
    qubits, name = gate.qubits, gate.name
    if name == "sx":
        circuit.any(*qubits, unitary=_SQRT_X)
    elif name == "ch":
        circuit.any(*qubits, unitary=np.kron(np.diag([1, 0]), np.eye(2)) + np.kron(np.diag([0, 1]), _H))
    elif name == "rzx":
        circuit.h(qubits[1])
        circuit.rzz(*qubits, theta=angle)
        circuit.h(qubits[1])
    else:
        method = getattr(circuit, _TENSORCIRCUIT.get(name, name))
        method(*qubits, **({} if angle is None else {"theta": angle}))


def _tensorcircuit_probabilities(tc: Any, workload: Workload) -> Callable[[Any, Any], Any]:
    """Probabilities of one sample: inputs ``(n_inputs,)`` and weights to ``(2**n_qubits,)``.

    One product with a table of signs then gives every Z, several times as fast as an ``expectation`` a qubit.
    """

    def probabilities(inputs: Any, weights: Any) -> Any:
        circuit = tc.Circuit(workload.size.n_qubits)
        for gate in workload.gates:
            angle = None if gate.weight is None else weights[gate.weight]
            _tensorcircuit_gate(circuit, gate, inputs[gate.input] if gate.input is not None else angle)
        state = circuit.state()
        return tc.backend.real(state) ** 2 + tc.backend.imag(state) ** 2

    return probabilities


def _signs(n_qubits: int) -> np.ndarray:
    """Z of each qubit on each basis state, shape ``(2**n, n)``; tensorcircuit's first qubit is the highest bit."""
    return 1.0 - 2.0 * ((np.arange(2**n_qubits)[:, None] >> np.arange(n_qubits)[::-1]) & 1)


def _use(tc: Any, backend: str, dtype: torch.dtype) -> None:
    tc.set_backend(backend)
    tc.set_dtype("complex64" if dtype == torch.float32 else "complex128")


def tensorcircuit_jax(workload: Workload, dtype: torch.dtype) -> Step:
    """The whole step, head and loss too, as one compiled JAX function: its best case."""
    import jax
    import tensorcircuit as tc

    _use(tc, "jax", dtype)
    # On throughout, or a compiled float64 step would be compiled again after a float32 one.
    jax.config.update("jax_enable_x64", True)
    number = np.float32 if dtype == torch.float32 else np.float64
    given = (workload.inputs, workload.weights, workload.head, _signs(workload.size.n_qubits))
    arrays = [jax.numpy.asarray(a.astype(number)) for a in given]
    labels = jax.numpy.asarray(workload.labels)
    batched = jax.vmap(_tensorcircuit_probabilities(tc, workload), in_axes=(0, None))

    def loss(inputs: Any, weights: Any, head: Any, signs: Any) -> tuple[Any, Any]:
        outputs = batched(inputs, weights) @ signs
        scores = jax.nn.log_softmax(outputs @ head.T)
        return -jax.numpy.take_along_axis(scores, labels[:, None], axis=1).mean(), outputs

    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)).lower(*arrays).compile()

    def step() -> StepResult:
        (_, outputs), gradients = jax.block_until_ready(compiled(*arrays))
        return StepResult(*(np.asarray(a) for a in (outputs, *gradients[:2])))

    return step


def tensorcircuit_torch(workload: Workload, dtype: torch.dtype) -> Step:
    """The batch by ``torch.vmap``, gradients by torch."""
    import tensorcircuit as tc

    batched = torch.vmap(_tensorcircuit_probabilities(tc, workload), in_dims=(0, None))

    signs = torch.tensor(_signs(workload.size.n_qubits), dtype=dtype)

    def forward(inputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        _use(tc, "pytorch", dtype)
        return batched(inputs, weights) @ signs

    return torch_step(workload, dtype, forward)


_CONTROLLED = {"crx": "x", "cry": "y", "crz": "z"}
_PAULI = {"x": 1, "y": 2, "z": 3}


def pauli_rotations(gate: GateCall) -> Iterator[tuple[str, tuple[int, ...], float]]:
    """A gate with an angle ``t`` as commuting ``exp(-i f t/2 P)``: letters of P, qubits, factor f."""
    control, target = gate.qubits[0], gate.qubits[-1]
    if gate.name in _CONTROLLED:
        letter = _CONTROLLED[gate.name]
        yield letter, (target,), 0.5
        yield "z" + letter, (control, target), -0.5
    elif gate.name == "cp":
        yield "z", (control,), 0.5
        yield "z", (target,), 0.5
        yield "zz", gate.qubits, -0.5
    else:
        yield "z" if gate.name == "p" else gate.name[1:], gate.qubits, 1.0


_QULACS = {"h": "H", "x": "X", "y": "Y", "z": "Z", "s": "S", "t": "T", "sx": "sqrtX", "cx": "CNOT", "cz": "CZ"}
_QULACS |= {"swap": "SWAP", "ccx": "TOFFOLI", "cswap": "FREDKIN"}


def _qulacs_fixed(qulacs: Any, gate: GateCall) -> Any:
    if gate.name in _QULACS:
        return getattr(qulacs.gate, _QULACS[gate.name])(*gate.qubits)
    from qiskit.circuit.library import get_standard_gate_name_mapping

    return qulacs.gate.DenseMatrix(list(gate.qubits), get_standard_gate_name_mapping()[gate.name].to_matrix())


def qulacs_backprop(workload: Workload, dtype: torch.dtype) -> Step:
    """One forward and one ``backprop`` a sample, in a loop, as an ``autograd.Function``; always complex128."""
    import qulacs

    n_qubits = workload.size.n_qubits
    circuit, turns = qulacs.ParametricQuantumCircuit(n_qubits), []
    for gate in workload.gates:
        if gate.input is None and gate.weight is None:
            circuit.add_gate(_qulacs_fixed(qulacs, gate))
            continue
        for letters, qubits, factor in pauli_rotations(gate):
            circuit.add_parametric_multi_Pauli_rotation_gate(list(qubits), [_PAULI[c] for c in letters], 0.0)
            # qulacs turns by exp(+i t/2 P).
            turns.append((gate.input, gate.weight, -factor))
    of_input = [(k, i, f) for k, (i, _, f) in enumerate(turns) if i is not None]
    of_weight = [(k, w, f) for k, (_, w, f) in enumerate(turns) if w is not None]
    # Both parts are linear maps from inputs and weights to angles.
    input_map, weight_map = (
        np.zeros((workload.inputs.shape[1], len(turns))),
        np.zeros((len(workload.weights), len(turns))),
    )
    for table, entries in ((input_map, of_input), (weight_map, of_weight)):
        for k, row, factor in entries:
            table[row, k] = factor
    z = [qulacs.Observable(n_qubits) for _ in range(n_qubits)]
    for q, observable in enumerate(z):
        observable.add_operator(1.0, f"Z {q}")

    def set_angles(row: np.ndarray) -> None:
        for k, angle in enumerate(row):
            circuit.set_parameter(k, angle)

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, inputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            ctx.rows = inputs.detach().double().numpy() @ input_map + weights.detach().double().numpy() @ weight_map
            state, outputs = qulacs.QuantumState(n_qubits), []
            for row in ctx.rows:
                set_angles(row)
                state.set_zero_state()
                circuit.update_quantum_state(state)
                outputs.append([observable.get_expectation_value(state) for observable in z])
            return torch.tensor(outputs, dtype=inputs.dtype)

        @staticmethod
        def backward(ctx: Any, cotangent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            slopes = []
            for row, weights in zip(ctx.rows, cotangent.tolist(), strict=True):
                set_angles(row)
                observable = qulacs.Observable(n_qubits)
                for q, weight in enumerate(weights):
                    observable.add_operator(weight, f"Z {q}")
                slopes.append(circuit.backprop(observable))
            found = np.array(slopes)
            gradients = found @ input_map.T, found.sum(0) @ weight_map.T
            return tuple(torch.tensor(g, dtype=cotangent.dtype) for g in gradients)  # type: ignore[return-value]

    return torch_step(workload, dtype, Function.apply)


def torch_connector(workload: Workload, dtype: torch.dtype) -> Step:
    """qiskit-machine-learning's TorchConnector, exact and with its own gradient: parameter shifts."""
    from qiskit.primitives import StatevectorEstimator
    from qiskit_machine_learning.connectors import TorchConnector
    from qiskit_machine_learning.neural_networks import EstimatorQNN

    from benchmarks.to_qiskit import parameterized_circuit
    from circuits import z_each

    circuit = parameterized_circuit(workload)
    network = EstimatorQNN(
        circuit=circuit.quantum_circuit,
        estimator=StatevectorEstimator(),
        observables=z_each(workload.size.n_qubits),
        input_params=list(circuit.inputs),
        weight_params=list(circuit.weights),
        input_gradients=True,
        default_precision=0.0,
    )
    layer = TorchConnector(network, initial_weights=workload.weights)
    return torch_step(workload, dtype, lambda inputs, _: layer(inputs), layer.weight)


CONTESTANTS = {
    "tensorcircuit jax": Contestant(tensorcircuit_jax, max_qubits=20),
    "tensorcircuit torch": Contestant(tensorcircuit_torch, max_qubits=16),
    "qulacs": Contestant(qulacs_backprop, dtypes=("float64",), max_qubits=20),
    "qiskit-machine-learning": Contestant(
        torch_connector, dtypes=("float64",), max_qubits=8, circuits=("ansatz",), samples=1
    ),
}
"""Name -> contestant."""
