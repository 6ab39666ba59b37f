"""The benchmark against bare Aer compares like with like."""

from __future__ import annotations

from benchmarks.aer_overhead import BARE, contenders, seconds


def test_all_contenders_do_the_same_work() -> None:
    functions = contenders(n_qubits=2, n_bindings=3, n_layers=1, shots=50)
    result = functions[BARE]()
    counts = functions["bare run + get_counts"]()
    assert len(result.results) == len(counts) == 3 and {sum(c.values()) for c in counts} == {50}
    assert functions["ours"]().mean.shape == (3, 2)
    assert all(wall > 0 for wall, _ in seconds(functions, repeats=2).values())
