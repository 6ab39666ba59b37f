"""Vector registers as values inside numba: what the loops over a state are written in.

A register is 64 bytes of one precision, 16 floats or 8 doubles; LLVM maps it to whatever the processor has. Explicit
registers keep amplitudes and coefficients out of memory in loops that the automatic vectorizer gives up on: it has to
prove that a dozen arrays do not overlap, and here nothing has to be proved.
"""

from __future__ import annotations

import gc
import operator
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any

import llvmlite.ir as ir
from numba import __version__, config, njit, types
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.compiler_lock import global_compiler_lock
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

REGISTER_BYTES = 64
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy", "no_cfunc_wrapper": True}
JIT: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
"""Of functions that only compiled ones call."""
PART: dict[str, Any] = {**JIT, "inline": "always"}
"""Of a large function with one caller: as a part of it, it is compiled once, and not again with all that holds it."""
LEVEL = 2
"""Of LLVM's optimisation while these kernels are compiled."""
_INDEX = ir.IntType(32)


class Register(types.Type):
    """The numba type of a register of ``dtype``."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.lanes = REGISTER_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Register({dtype})")


@register_model(Register)
class _RegisterModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Register) -> None:
        scalar = ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, kind, ir.VectorType(scalar, kind.lanes))


class _SameRegisters(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if len(args) == 2 and isinstance(args[0], Register) and args[0] == args[1]:
            return signature(args[0], *args)
        return None


def _define(function: Any, instruction: str) -> None:
    infer_global(function)(type(f"_{instruction}", (_SameRegisters,), {}))

    @lower_builtin(function, Register, Register)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=("contract",))


for _function, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _define(_function, _instruction)


@intrinsic
def flip(typingctx: Any, value: Any, sign: Any) -> Any:
    """``value`` with the sign turned in each lane where ``sign`` is -0.0; free beside multiplications."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        integers = ir.VectorType(ir.IntType(value.dtype.bitwidth), value.lanes)
        bits = builder.xor(*(builder.bitcast(part, integers) for part in args))
        return builder.bitcast(bits, args[0].type)

    return value(value, sign), codegen


def _place(context: Any, builder: Any, pointer: Any, index: Any, register: Register) -> Any:
    return builder.bitcast(builder.gep(pointer, [index]), ir.PointerType(context.get_value_type(register)))


def _indices(numbers: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_INDEX, len(numbers)), numbers)


@intrinsic
def pointer(typingctx: Any, array: Any) -> Any:
    """Where an array's numbers begin. Compiled functions pass on pointers: arrays cost them seven arguments each."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def pointer_at(typingctx: Any, address: Any, like: Any) -> Any:
    """An address as a pointer of the kind of ``like``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

    return like(types.int64, like), codegen


@intrinsic
def after(typingctx: Any, pointer: Any, offset: Any) -> Any:
    """The pointer ``offset`` numbers further on."""
    return pointer(pointer, types.intp), lambda context, builder, sig, args: builder.gep(args[0], [args[1]])


@intrinsic
def lanes_of(typingctx: Any, pointer: Any) -> Any:
    """Numbers in a register of what the pointer points to."""
    lanes = Register(pointer.dtype).lanes
    return types.intp(pointer), lambda context, builder, sig, args: context.get_constant(types.intp, lanes)


@intrinsic
def load(typingctx: Any, pointer: Any, index: Any) -> Any:
    """The register that starts at ``pointer[index]``."""
    register = Register(pointer.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_place(context, builder, args[0], args[1], register))
        value.align = pointer.dtype.bitwidth // 8
        return value

    return register(pointer, types.intp), codegen


@intrinsic
def store(typingctx: Any, pointer: Any, index: Any, value: Any) -> Any:
    """Put a register at ``pointer[index]``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        done = builder.store(args[2], _place(context, builder, args[0], args[1], value))
        done.align = pointer.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(pointer, types.intp, value), codegen


@intrinsic
def fill(typingctx: Any, pointer: Any, number: Any) -> Any:
    """``number`` in every lane, in the precision of what ``pointer`` points to."""
    register = Register(pointer.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = context.get_value_type(register)
        scalar = context.cast(builder, args[1], sig.args[1], pointer.dtype)
        one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(_INDEX, 0))
        return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), _indices([0] * register.lanes))

    return register(pointer, number), codegen


def _shuffle(builder: Any, value: Any, distance: int) -> Any:
    lanes = value.type.count
    mask = [lane ^ distance if distance < lanes else lane for lane in range(lanes)]
    return builder.shuffle_vector(value, value, _indices(mask))


def _exchange(distance: int) -> Any:
    @intrinsic
    def exchange(typingctx: Any, value: Any) -> Any:
        return value(value), lambda context, builder, sig, args: _shuffle(builder, args[0], distance)

    return exchange


_exchange1, _exchange2, _exchange4, _exchange8 = (_exchange(1 << bit) for bit in range(4))


@njit(**JIT)
def exchange(value, bit):
    """Lane ``k`` gets what lane ``k ^ 2**bit`` had."""
    if bit == 0:
        return _exchange1(value)
    if bit == 1:
        return _exchange2(value)
    if bit == 2:
        return _exchange4(value)
    return _exchange8(value)


@intrinsic
def total(typingctx: Any, value: Any) -> Any:
    """The sum of the lanes, pairwise."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        summed, distance = args[0], value.lanes // 2
        while distance:
            summed = builder.fadd(summed, _shuffle(builder, summed, distance))
            distance //= 2
        return builder.extract_element(summed, ir.Constant(_INDEX, 0))

    return value.dtype(value), codegen


class _Stamped(FunctionCache):
    """Numba's cache on disk of one function, aware that its compiled code holds this whole folder's.

    Numba looks at the file of the function alone, and would run old kernels after another one has changed.
    """

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        files = sorted(Path(__file__).parent.glob("*.py"))
        sources = sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, (__version__, sources))


def _sooner(compile_function: Any) -> Any:
    """Without garbage collection, which takes a tenth of numba's time: it looks at all that torch and Qiskit hold. And
    with LLVM's second level of optimisation, where registers are explicit as fast as the third."""

    @wraps(compile_function)
    def call(*args: Any) -> Any:
        with global_compiler_lock:
            collects, level = gc.isenabled(), config.OPT
            gc.disable()
            config.OPT = LEVEL
            try:
                return compile_function(*args)
            finally:
                config.OPT = level
                if collects:
                    gc.enable()

    return call


def cached(function: Any) -> Any:
    """Compile a function that Python calls, and keep the result on disk."""
    dispatcher = njit(**_OPTIONS)(function)
    dispatcher._cache = _Stamped(function)
    dispatcher.compile = _sooner(dispatcher.compile)
    return dispatcher
