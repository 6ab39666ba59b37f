"""Circuits from Qiskit objects and from OpenQASM text, friendly and hostile."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from qiskit import qasm2, qasm3
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.quantum_info import Operator, Statevector

from circuits import data_reuploading, from_qasm, from_qiskit

QASM2 = """OPENQASM 2.0;
include "qelib1.inc"; // include what Qiskit knows
gate turn(a) q { rz(2*a) q; }
qreg q[2]; creg c[2];
h q[0]; cx q[0],q[1]; turn(0.3) q[0]; sx q[1]; rzz(pi/4) q[0],q[1];
measure q -> c;
"""
QASM3 = """OPENQASM 3.0;
include "stdgates.inc";
input float[64] x10; input float[64] x2; input float[64] w;
qubit[2] q; bit[2] b;
ry(x2) q[0]; ry(2*x10) q[1]; cx q[0], q[1]; rz(w) q[1];
b = measure q;
"""


def vectors() -> tuple[QuantumCircuit, ParameterVector, ParameterVector]:
    x, w = ParameterVector("x", 12), ParameterVector("w", 11)
    circuit = QuantumCircuit(2, 2)
    for p in (*x, *w):
        circuit.ry(p, 0)
    circuit.measure([0, 1], [0, 1])
    return circuit, x, w


@pytest.mark.parametrize("form", ["vector", "name", "list", "only inputs", "only weights"])
def test_every_way_to_name_the_slots(form: str) -> None:
    circuit, x, w = vectors()
    given = {
        "vector": {"inputs": x, "weights": w},
        "name": {"inputs": "x", "weights": "w"},
        "list": {"inputs": [p.name for p in x], "weights": list(w)},
        "only inputs": {"inputs": "x"},
        "only weights": {"weights": w},
    }[form]
    ours = from_qiskit(circuit, **given)
    assert ours.inputs == tuple(x)
    assert ours.weights == tuple(w)
    assert circuit.count_ops()["measure"] == 2


def test_loose_parameters_come_in_the_order_of_their_numbers() -> None:
    circuit = QuantumCircuit(1)
    for name in ("x10", "x2", "b_1", "a"):
        circuit.rx(Parameter(name), 0)
    ours = from_qiskit(circuit, inputs="x")
    assert [p.name for p in ours.inputs] == ["x2", "x10"]
    assert [p.name for p in ours.weights] == ["a", "b_1"]
    assert [p.name for p in from_qiskit(circuit, inputs=["a", "x10"], weights=["x2", "b"]).inputs] == [
        "a",
        "x10",
    ]


def test_our_own_circuits_come_back() -> None:
    ours = data_reuploading(2, n_layers=2)
    assert from_qiskit(ours.quantum_circuit, inputs="x") == ours


def test_wrong_splits_are_refused() -> None:
    circuit, x, _ = vectors()
    with pytest.raises(ValueError, match=r"expected inputs= \(data\) or weights="):
        from_qiskit(circuit)
    with pytest.raises(ValueError, match="no parameter is called 'z'"):
        from_qiskit(circuit, inputs="z")
    with pytest.raises(ValueError, match="neither inputs nor weights"):
        from_qiskit(circuit, inputs=x, weights=())
    with pytest.raises(TypeError, match="QuantumCircuit, got str"):
        from_qiskit("h q[0]")


def test_a_circuit_without_parameters_needs_no_split() -> None:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    assert from_qiskit(circuit).n_inputs == 0


def test_measurement_in_the_middle_is_refused() -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    circuit.x(0)
    with pytest.raises(ValueError, match="'measure'"):
        from_qiskit(circuit)


def test_qasm2_from_text_and_file(tmp_path: Path) -> None:
    expected = QuantumCircuit(2)
    expected.h(0)
    expected.cx(0, 1)
    expected.rz(0.6, 0)
    expected.sx(1)
    expected.rzz(np.pi / 4, 0, 1)
    path = tmp_path / "circuit.qasm"
    path.write_text(QASM2)
    for source in (QASM2, path, str(path)):
        assert Operator(from_qasm(source).bind()).equiv(Operator(expected))


def test_qasm3_parameters_by_name() -> None:
    circuit = from_qasm(QASM3, inputs="x")
    assert [p.name for p in circuit.inputs] == ["x2", "x10"]
    assert [p.name for p in circuit.weights] == ["w"]
    expected = QuantumCircuit(2)
    expected.ry(0.1, 0)
    expected.ry(0.4, 1)
    expected.cx(0, 1)
    expected.rz(0.5, 1)
    assert Statevector(circuit.bind([0.1, 0.2], [0.5])).equiv(Statevector(expected))


def test_what_qiskit_exports_is_read() -> None:
    bound = data_reuploading(3).bind(np.ones(3), np.linspace(0, 1, 36))
    for text in (qasm2.dumps(bound), qasm3.dumps(bound)):
        assert Operator(from_qasm(text).bind()).equiv(Operator(bound))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h q[0];", "begins with OPENQASM"),
        (QASM2.replace("h q", "frob q"), "not a valid OpenQASM 2 program"),
        (QASM2.replace('"qelib1.inc"', '"/etc/hostname"'), "no include but"),
        (QASM2.replace('"qelib1.inc"', "'/etc/hostname'"), "no include but"),
        (QASM2.replace('"qelib1.inc"', '"a//b.inc"'), "no include but"),
        (QASM2.replace("q[2]", "q[100000000]"), "at most 4096 bits in all, got 100000002"),
        (QASM2.replace("q[2]", "q[99999999999999999999]"), "at most 4096 bits"),
        (QASM2.replace("0.3", "2^99999"), "finite angles, got .* in gate 'turn'"),
        (QASM2.replace("2*a", "2^99999"), "finite angles, got .* in gate 'rz'"),
        (QASM2 + "//" + "x" * 1_000_000, "at most 1,000,000 bytes"),
        (QASM2 + "reset q[0];", "got the instruction"),
        (QASM3.replace("rz(w)", "frob(w)"), "not a valid OpenQASM 3 program"),
        (QASM3.replace("qubit[2]", "const int n = 100000000; qubit[n]"), "plain whole number"),
        (QASM3.replace("qubit[2]", "qubit[1_000_000]"), "plain whole number"),
        (QASM3.replace("qubit[2]", "qubit[100000]"), "at most 4096 bits"),
        (QASM3 + 'include "/etc/hostname";', "no include but"),
        (QASM3 + "for int i in [0:3] { x q[0]; }", "got the instruction"),
    ],
)
def test_hostile_and_broken_programs_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_qasm(text, inputs="x" if "float[64]" in text else None)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.qasm"
    path.write_bytes(b"\xff" * 1_000_001)
    with pytest.raises(ValueError, match="got 1,000,001"):
        from_qasm(path)
    with pytest.raises(FileNotFoundError):
        from_qasm(tmp_path / "absent.qasm")


def test_a_panic_of_the_parser_becomes_a_value_error(monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {})

    def fall_over(*_: object, **__: object) -> None:
        raise panic("attempt to add with overflow")

    monkeypatch.setattr(qasm2, "loads", fall_over)
    with pytest.raises(ValueError, match="add with overflow"):
        from_qasm(QASM2)


def test_an_interrupt_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(qasm2, "loads", interrupt)
    with pytest.raises(KeyboardInterrupt):
        from_qasm(QASM2)


def test_a_missing_importer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qiskit_qasm3_import", None)
    with pytest.raises(ImportError, match=r"pip install 'qworkbench\[qasm3\]'"):
        from_qasm(QASM3, inputs="x")
