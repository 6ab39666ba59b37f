"""Further peers, with the extra ``bench``: tensorcircuit-ng in JAX and in torch, qulacs, qiskit-machine-learning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


class _QulacsCircuit:
    """A workload in qulacs, one sample at a time."""

    def __init__(self, workload: Workload) -> None:
        import qulacs

        self._qulacs, self._n_qubits = qulacs, workload.size.n_qubits
        self._circuit, turns = qulacs.ParametricQuantumCircuit(self._n_qubits), []
        for gate in workload.gates:
            if gate.input is None and gate.weight is None:
                self._circuit.add_gate(_qulacs_fixed(qulacs, gate))
                continue
            for letters, qubits, factor in pauli_rotations(gate):
                paulis = [_PAULI[letter] for letter in letters]
                self._circuit.add_parametric_multi_Pauli_rotation_gate(list(qubits), paulis, 0.0)
                # qulacs turns by exp(+i t/2 P).
                turns.append((gate.input, gate.weight, -factor))
        # Inputs and weights to angles is a linear map each.
        self.input_map = np.zeros((workload.inputs.shape[1], len(turns)))
        self.weight_map = np.zeros((len(workload.weights), len(turns)))
        for k, (of_input, of_weight, factor) in enumerate(turns):
            if of_input is not None:
                self.input_map[of_input, k] = factor
            else:
                self.weight_map[of_weight, k] = factor

    def _observable(self, weights: Sequence[float]) -> Any:
        result = self._qulacs.Observable(self._n_qubits)
        for qubit, weight in enumerate(weights):
            result.add_operator(weight, f"Z {qubit}")
        return result

    def _set(self, row: np.ndarray) -> None:
        for k, angle in enumerate(row):
            self._circuit.set_parameter(k, angle)

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """Z of each qubit, shape ``(N, n_qubits)``, at angles of shape ``(N, K)``."""
        z = [self._observable(unit) for unit in np.eye(self._n_qubits).tolist()]
        state, found = self._qulacs.QuantumState(self._n_qubits), []
        for row in rows:
            self._set(row)
            state.set_zero_state()
            self._circuit.update_quantum_state(state)
            found.append([observable.get_expectation_value(state) for observable in z])
        return np.array(found)

    def slopes(self, rows: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        """Gradient of ``(cotangent * outputs).sum()``, shape ``(N, K)``."""
        found = []
        for row, weights in zip(rows, cotangent.tolist(), strict=True):
            self._set(row)
            found.append(self._circuit.backprop(self._observable(weights)))
        return np.array(found)


class _QulacsFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weights: torch.Tensor, circuit: _QulacsCircuit) -> torch.Tensor:
        x, w = (t.detach().double().numpy() for t in (inputs, weights))
        ctx.circuit, ctx.rows = circuit, x @ circuit.input_map + w @ circuit.weight_map
        return torch.tensor(circuit.outputs(ctx.rows), dtype=inputs.dtype)

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        circuit, dtype = ctx.circuit, cotangent.dtype
        slopes = circuit.slopes(ctx.rows, cotangent.double().numpy())
        of_weights = slopes.sum(0) @ circuit.weight_map.T
        return torch.tensor(slopes @ circuit.input_map.T, dtype=dtype), torch.tensor(of_weights, dtype=dtype), None


def qulacs_backprop(workload: Workload, dtype: torch.dtype) -> Step:
    """One forward and one ``backprop`` a sample, in a loop; always complex128."""
    circuit = _QulacsCircuit(workload)
    return torch_step(workload, dtype, lambda inputs, weights: _QulacsFunction.apply(inputs, weights, circuit))


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
