"""Qiskit's parameter expressions as torch functions.

Polynomials (nearly all expressions met in practice: ``x``, ``2*x``, ``(1+s)*x + b``, ``2*(pi-x0)*(pi-x1)``) are
evaluated together as products of gathered columns and one matrix product; anything else is walked as a tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import sympy
import torch
from qiskit.circuit import Parameter, ParameterExpression

Monomials = dict[tuple[int, ...], float]
MAX_DEGREE = 8
MAX_TERMS = 512
"""Beyond it an expanded polynomial costs more than walking the tree."""

_FUNCTIONS: dict[type, Callable[[torch.Tensor], torch.Tensor]] = {
    sympy.sin: torch.sin,
    sympy.cos: torch.cos,
    sympy.tan: torch.tan,
    sympy.asin: torch.asin,
    sympy.acos: torch.acos,
    sympy.atan: torch.atan,
    sympy.exp: torch.exp,
    sympy.log: torch.log,
    sympy.Abs: torch.abs,
    sympy.sign: torch.sign,
    sympy.conjugate: lambda value: value,
}


class Table(NamedTuple):
    """The polynomials of a map for one dtype and device; ``values = [1, used inputs, used weights]``, U in all."""

    inputs: torch.Tensor
    """Columns of the inputs that occur."""
    weights: torch.Tensor
    """Weights that occur."""
    factors: tuple[torch.Tensor, ...]
    """``(U, M)``: which value is the k-th factor of each of M monomials; none if all have degree 1."""
    coefficients: torch.Tensor
    """``(M, angles)``, or ``(U, angles)`` without factors."""


class AngleMap:
    """``(inputs, weights) -> angles``, filled once while lowering and then called for every batch."""

    def __init__(self, inputs: Sequence[Parameter], weights: Sequence[Parameter]) -> None:
        self._column = {p.name: i for i, p in enumerate([*inputs, *weights])}
        self._n_inputs = len(inputs)
        self._monomials: dict[int, Monomials] = {}
        self._trees: dict[int, sympy.Expr] = {}
        self._functions: list[tuple[int, int, AngleMap, Callable[..., torch.Tensor]]] = []
        self._parameters = (tuple(inputs), tuple(weights))
        self._tables: dict[tuple[torch.dtype, torch.device], Table] = {}
        self.n_angles = 0

    def add(
        self,
        values: Sequence[float | ParameterExpression],
        n_angles: int = 1,
        function: Callable[..., torch.Tensor] | None = None,
    ) -> int:
        """Append angles and return the index of the first.

        Args:
            values: The expression of the angle, or with ``function`` the values that it takes.
            n_angles: How many angles are added.
            function: ``(values (..., V), torch) -> angles (..., n_angles)``; by default the one value is the angle.
        """
        first = self.n_angles
        self.n_angles += n_angles
        if function is not None:
            arguments = AngleMap(*self._parameters)
            for value in values:
                arguments.add([value])
            self._functions.append((first, n_angles, arguments, function))
            return first
        (value,) = values
        monomials = self._polynomial(value)
        if monomials is None:
            assert isinstance(value, ParameterExpression)
            self._trees[first] = _tree(value)
        else:
            self._monomials[first] = monomials
        return first

    def _polynomial(self, value: float | ParameterExpression) -> Monomials | None:
        if not isinstance(value, ParameterExpression):
            return {(): float(value)}
        if isinstance(value, Parameter) or value.is_symbol():
            # Of an expression that has shrunk to one symbol, Qiskit's sympify gives any of its former ones.
            return {(self._column[str(value)],): 1.0}
        if not value.parameters:
            return {(): float(value.numeric())}
        return _monomials(_tree(value), self._column)

    def __call__(self, inputs: torch.Tensor, weights: torch.Tensor, n_rows: int) -> torch.Tensor:
        """Angles of shape ``(n_rows, n_angles)``.

        Args:
            inputs: Shape ``(n_rows, n_inputs)``; may be empty if no angle depends on an input.
            weights: Shape ``(n_weights,)``.
            n_rows: Number of samples.
        """
        if self._monomials:
            result = self._evaluate_polynomials(inputs, weights, n_rows)
        else:
            result = weights.new_zeros((n_rows, self.n_angles))
        columns: dict[int, torch.Tensor] = {}
        for slot, tree in self._trees.items():
            columns[slot] = self._walk(tree, inputs, weights).expand(n_rows)
        for first, count, arguments, function in self._functions:
            block = function(arguments(inputs, weights, n_rows), torch)
            columns |= {first + k: block[:, k] for k in range(count)}
        if columns:
            result = torch.stack([columns.get(k, result[:, k]) for k in range(self.n_angles)], dim=1)
        return result

    @cached_property
    def copies(self) -> str | None:
        """``inputs`` or ``weights`` if the angles are these, one by one: then there is nothing to compute."""
        n_inputs, n_weights = (len(p) for p in self._parameters)
        if self._trees or self._functions:
            return None
        for name, columns in (("inputs", range(n_inputs)), ("weights", range(n_inputs, n_inputs + n_weights))):
            if self.n_angles == len(columns) and all(self._monomials[k] == {(c,): 1.0} for k, c in enumerate(columns)):
                return name
        return None

    def _evaluate_polynomials(self, inputs: torch.Tensor, weights: torch.Tensor, n_rows: int) -> torch.Tensor:
        from_inputs, from_weights, factors, coefficients = self._table(weights.dtype, weights.device)
        columns = [weights.new_ones((n_rows, 1))]
        if len(from_inputs):
            columns.append(inputs if len(from_inputs) == self._n_inputs else inputs[:, from_inputs])
        if len(from_weights):
            chosen = weights if len(from_weights) == len(weights) else weights[from_weights]
            columns.append(chosen.expand(n_rows, -1))
        values = torch.cat(columns, dim=1)
        if not factors:
            return values @ coefficients
        product = values @ factors[0]
        for factor in factors[1:]:
            product = product * (values @ factor)
        return product @ coefficients

    def _table(self, dtype: torch.dtype, device: torch.device) -> Table:
        """The table, made once unless torch only traces."""
        found = self._tables.get((dtype, device))
        if found is None:
            # Made in inference mode it would be of no use in training, where it is kept for as well.
            with torch.inference_mode(False):
                found = self._make_table(dtype, device)
            if type(found.coefficients) is torch.Tensor:
                self._tables[dtype, device] = found
        return found

    def _make_table(self, dtype: torch.dtype, device: torch.device) -> Table:
        """Selections as matrix products, which torch differentiates faster than it does indexing."""
        unique = sorted({m for monomials in self._monomials.values() for m in monomials})
        used = sorted({column for monomial in unique for column in monomial})
        place = {column: i + 1 for i, column in enumerate(used)}
        degree = max([1, *(len(m) for m in unique)])
        factors = torch.zeros((degree, 1 + len(used), len(unique)), dtype=torch.float64)
        coefficients = torch.zeros((len(unique), self.n_angles), dtype=torch.float64)
        row = {monomial: i for i, monomial in enumerate(unique)}
        for monomial, i in row.items():
            for k in range(degree):
                factors[k, place[monomial[k]] if k < len(monomial) else 0, i] = 1
        for slot, monomials in self._monomials.items():
            for monomial, factor in monomials.items():
                coefficients[row[monomial], slot] = factor
        if degree == 1:
            factors, coefficients = factors[:0], factors[0] @ coefficients
        inputs = [column for column in used if column < self._n_inputs]
        weights = [column - self._n_inputs for column in used if column >= self._n_inputs]
        return Table(
            torch.tensor(inputs, dtype=torch.long, device=device),
            torch.tensor(weights, dtype=torch.long, device=device),
            tuple(factors.to(dtype=dtype, device=device)),
            coefficients.to(dtype=dtype, device=device),
        )

    def _walk(self, tree: sympy.Expr, inputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        if tree.is_Symbol:
            column = self._column[tree.name]
            return inputs[:, column] if column < self._n_inputs else weights[column - self._n_inputs]
        if tree.is_number:
            return weights.new_tensor(_real(tree))
        arguments = [self._walk(argument, inputs, weights) for argument in tree.args]
        if tree.is_Add or tree.is_Mul:
            result = arguments[0]
            for argument in arguments[1:]:
                result = result + argument if tree.is_Add else result * argument
            return result
        if tree.is_Pow:
            exponent = tree.args[1]
            return arguments[0] ** (_real(exponent) if exponent.is_number else arguments[1])
        if tree.func in _FUNCTIONS:
            return _FUNCTIONS[tree.func](arguments[0])
        raise ValueError(f"the function {tree.func} in an angle has no torch counterpart")


def _tree(value: ParameterExpression) -> sympy.Expr:
    tree = value.sympify()
    if tree is NotImplemented:
        raise ValueError(
            f"the angle {value} cannot be read; write a number to the power of a parameter, a**x, as (x * log(a)).exp()"
        )
    return tree


def _real(number: Any) -> float:
    value = complex(number)
    if value.imag != 0:
        raise ValueError(f"expected real coefficients in an angle, got {number}")
    return value.real


def _monomials(tree: sympy.Expr, column: dict[str, int]) -> Monomials | None:
    """The expanded polynomial as ``{sorted columns: coefficient}``, or None if it is none of low degree."""
    if tree.is_Symbol:
        return {(column[tree.name],): 1.0}
    if tree.is_number:
        return {(): _real(tree)}
    if tree.is_Pow:
        exponent = tree.args[1]
        if not (exponent.is_number and exponent == int(exponent) and 1 <= int(exponent) <= MAX_DEGREE):
            return None
        parts = [_monomials(tree.args[0], column)] * int(exponent)
    elif tree.is_Add or tree.is_Mul:
        parts = [_monomials(argument, column) for argument in tree.args]
    else:
        return None
    if any(part is None for part in parts):
        return None
    result: Monomials = {} if tree.is_Add else {(): 1.0}
    for part in parts:
        assert part is not None
        if not tree.is_Add and len(result) * len(part) > MAX_TERMS:
            return None
        result = _sum(result, part) if tree.is_Add else _product(result, part)
    return result if all(len(m) <= MAX_DEGREE for m in result) else None


def _sum(a: Monomials, b: Monomials) -> Monomials:
    return {m: a.get(m, 0.0) + b.get(m, 0.0) for m in a | b}


def _product(a: Monomials, b: Monomials) -> Monomials:
    result: Monomials = {}
    for first, factor in a.items():
        for second, other in b.items():
            monomial = tuple(sorted(first + second))
            result[monomial] = result.get(monomial, 0.0) + factor * other
    return result
