"""Angle expressions: values as Qiskit binds them, derivatives as finite differences."""

import time

import numpy as np
import pytest
import torch
from qiskit.circuit import Parameter, ParameterVector

from qworkbench.expressions import AngleMap

X = ParameterVector("x", 2)
W = ParameterVector("w", 3)
EXPRESSIONS = {
    "number": 1.25,
    "parameter": X[0],
    "scaled": -2.5 * W[1],
    "linear": (1 + 0.5) * X[0] + W[0] - 0.3,
    "zz_map": 2 * (np.pi - X[0]) * (np.pi - X[1]),
    "power": (X[0] + W[2]) ** 3 * W[0],
    "cancelling": X[0] * W[0] - W[0] * X[0] + W[1],
    "division": X[0] / (2 + W[1] * W[1]),
    "root": (1 + X[1] * X[1]) ** 0.5,
    "exponent": (1.5 + X[0] ** 2) ** W[0],
    "sin": (2 * X[0]).sin() * W[1],
    "cos": (X[0] * W[0]).cos(),
    "tan": (0.3 * X[0]).tan(),
    "arcsin": (0.3 * X[0]).arcsin(),
    "arccos": (0.3 * X[1]).arccos(),
    "arctan": (X[0] - W[0]).arctan(),
    "exp": (-1 * X[0] * X[0]).exp(),
    "log": (2 + X[0] ** 2).log(),
    "abs": (X[0] - 5).abs(),
    "sign": (X[0] - 5).sign() * W[0],
    "conjugate": (X[0] * W[0]).conjugate(),
}


def bound(expression, x, w):
    if isinstance(expression, float):
        return expression
    values = dict(zip([*X, *W], [*x, *w], strict=True))
    return float(expression.assign_all(values)) if hasattr(expression, "assign_all") else _bind(expression, values)


def _bind(expression, values):
    return float(expression.bind({p: v for p, v in values.items() if p in expression.parameters}).numeric())


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_values_and_derivatives(name):
    expression = EXPRESSIONS[name]
    angles = AngleMap(X, W)
    angles.add([expression])
    rng = np.random.default_rng(1)
    x, w = rng.uniform(-1, 1, (4, 2)), rng.uniform(-1, 1, 3)
    tensors = [torch.tensor(v, requires_grad=True) for v in (x, w)]
    found = angles(tensors[0], tensors[1], 4)
    assert found.shape == (4, 1)
    expected = [bound(expression, row, w) for row in x]
    assert np.allclose(found.detach().numpy()[:, 0], expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda a, b: angles(a, b, 4), tensors)


def test_many_angles_keep_their_order_and_mix_kinds():
    angles = AngleMap(X, W)
    indices = [angles.add([e]) for e in EXPRESSIONS.values()]
    assert indices == list(range(len(EXPRESSIONS)))
    x, w = np.array([[0.3, -0.7]]), np.array([0.2, 0.9, -0.4])
    found = angles(torch.tensor(x), torch.tensor(w), 1)[0].numpy()
    assert np.allclose(found, [bound(e, x[0], w) for e in EXPRESSIONS.values()], atol=1e-12)


@pytest.mark.parametrize("name", ["I", "E", "pi", "S", "N", "oo", "lambda", "sin", "θ", "a b", "x.1", "$x$"])
def test_any_parameter_name_is_only_a_name(name):
    parameter = Parameter(name)
    angles = AngleMap((), (parameter,))
    angles.add([2 * parameter])
    angles.add([(parameter * parameter).sin()])
    found = angles(torch.zeros((1, 0), dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64), 1)
    assert np.allclose(found.numpy(), [[1.4, np.sin(0.49)]])


def test_a_block_of_angles_from_one_function():
    angles = AngleMap(X, W)
    angles.add([W[0]])
    first = angles.add([X[0], 2 * X[1]], 3, lambda v, xp: xp.stack([v[..., 0], v[..., 1], v[..., 0] * v[..., 1]], -1))
    angles.add([W[1]])
    found = angles(torch.tensor([[1.0, 2.0]]), torch.tensor([5.0, 6.0, 7.0]), 1)
    assert first == 1
    assert found.tolist() == [[5.0, 1.0, 4.0, 4.0, 6.0]]


def test_float32_stays_float32():
    angles = AngleMap(X, W)
    angles.add([2 * X[0] * W[0]])
    angles.add([X[0].sin()])
    assert angles(torch.ones((2, 2)), torch.ones(3), 2).dtype == torch.float32


def test_a_product_that_explodes_when_expanded_is_still_quick():
    many = ParameterVector("m", 30)
    angles = AngleMap((), many)
    angles.add([sum(many[1:], many[0]) ** 8])
    start = time.perf_counter()
    values = torch.full((30,), 1 / 30, dtype=torch.float64)
    assert angles(values.new_zeros((1, 0)), values, 1).item() == pytest.approx(1)
    assert time.perf_counter() - start < 2


def test_complex_angles_are_refused():
    with pytest.raises(ValueError, match="real"):
        AngleMap(X, W).add([1j * X[0] + X[1]])
