"""Threads inside compiled code: torch's own OpenMP team, and where its members meet.

Torch's threads spin for some milliseconds after each of its operations, on the processors that threads of our own would
need. Called from compiled code they start within microseconds, without Python's lock.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache
from typing import Any

import llvmlite.ir as ir
import numpy as np
import torch
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from qworkbench import PROCESS
from qworkbench.engines.statevector.native.registers import JIT

SPINS = 2000
"""Looks at the counter before the processor is offered to others."""
_yield_processor = types.ExternalFunction("sched_yield", types.int32())
_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_NAMES = ("GOMP_parallel_start", "GOMP_parallel_end", "omp_get_thread_num")
_QUERIES = (
    "omp_get_level",
    "omp_get_dynamic",
    "omp_get_max_active_levels",
    "omp_get_thread_limit",
    "omp_get_num_threads",
)
UNLIMITED = 2**30
"""OpenMP's limit of threads, which counts those of all teams, is above this where nobody has set one."""


def _torch_openmp() -> Any:
    """The OpenMP library that torch's calls go to, or None: searched as the system does, what is global first."""
    for name in (None, torch._C.__file__):
        with suppress(AttributeError, OSError, TypeError):
            library = ctypes.CDLL(name)
            if all(getattr(library, function) for function in _NAMES + _QUERIES):
                library.GOMP_parallel_start.argtypes = [_Body, ctypes.c_void_p, ctypes.c_uint]
                return library
    return None


_LIBRARY = _torch_openmp()
OPENMP: np.ndarray = np.array(
    [ctypes.cast(getattr(_LIBRARY, name), ctypes.c_void_p).value if _LIBRARY else 0 for name in _NAMES], np.int64
)
"""Where its functions are, for ``call_team`` and ``release_team``."""


def usable_threads() -> int:
    """As many as torch uses; one where a team may have fewer members than asked for: they would wait for each other.

    So without such a library, in a forked process, which threads do not follow, within a team, whose members get no
    team of their own, and where OpenMP is told to limit or to choose the number of threads.
    """
    threads = torch.get_num_threads()
    if threads == 1 or _LIBRARY is None or os.getpid() != PROCESS:
        return 1
    fewer = _LIBRARY.omp_get_level() or _LIBRARY.omp_get_dynamic() or _LIBRARY.omp_get_max_active_levels() < 1
    if fewer or _LIBRARY.omp_get_thread_limit() < UNLIMITED or _members(threads) < threads:
        return 1
    return threads


@cache
def _members(threads: int) -> int:
    """How many a team has that should have ``threads``."""
    body = _Body(lambda _: None)
    _LIBRARY.GOMP_parallel_start(body, None, threads)
    found: int = _LIBRARY.omp_get_num_threads()
    _LIBRARY.GOMP_parallel_end()
    return found


@intrinsic
def call_team(typingctx: Any, caller: Any, openmp: Any, threads: Any) -> Any:
    """Have others call the function that this is called from, each with its number as the last argument.

    Args:
        caller: That last argument, -1 from Python.
        openmp: Points to the numbers of ``OPENMP``.
        threads: How many call it in all. None may raise: a member's exception is lost, and others wait for it.

    Returns:
        The own number.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function, number = builder.function, ir.IntType(32)
        number_at = _function(builder, args[1], "omp_get_thread_num", number)
        task = cgutils.alloca_once_value(builder, cgutils.pack_struct(builder, [*function.args[:-1], number_at]))

        member = ir.Function(
            builder.module, ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t]), f"{function.name}.in_thread"
        )
        member.linkage = "internal"
        inside = ir.IRBuilder(member.append_basic_block("entry"))
        *others, number_of = cgutils.unpack_tuple(inside, inside.load(inside.bitcast(member.args[0], task.type)))
        # Numba's functions put what they return, and an exception, where the first two arguments point.
        others[:2] = [inside.alloca(part.type.pointee) for part in function.args[:2]]
        inside.call(function, [*others, inside.zext(inside.call(number_of, []), function.args[-1].type)])
        inside.ret_void()

        with builder.if_then(_calls(builder, args)):
            address = cgutils.voidptr_t
            start = _function(builder, args[1], "GOMP_parallel_start", ir.VoidType(), address, address, number)
            where = [builder.bitcast(part, address) for part in (member, task)]
            builder.call(start, [*where, builder.trunc(args[2], number)])
        zero = ir.Constant(args[0].type, 0)
        return builder.select(builder.icmp_signed("<", args[0], zero), zero, args[0])

    return types.int64(types.int64, openmp, types.int64), codegen


@intrinsic
def release_team(typingctx: Any, caller: Any, openmp: Any, threads: Any) -> Any:
    """Wait for the others that ``call_team`` has called, with the same arguments."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        with builder.if_then(_calls(builder, args)):
            builder.call(_function(builder, args[1], "GOMP_parallel_end", ir.VoidType()), [])
        return context.get_dummy_value()

    return types.void(types.int64, openmp, types.int64), codegen


def _function(builder: Any, openmp: Any, name: str, result: Any, *parameters: Any) -> Any:
    """One of the functions of ``OPENMP``."""
    where = builder.load(builder.gep(openmp, [ir.Constant(ir.IntType(64), _NAMES.index(name))]))
    return builder.inttoptr(where, ir.FunctionType(result, parameters).as_pointer())


def _calls(builder: Any, args: Any) -> Any:
    """Whether this is the one that calls others."""
    caller, _, threads = args
    from_python = builder.icmp_signed("<", caller, ir.Constant(caller.type, 0))
    return builder.and_(from_python, builder.icmp_signed(">", threads, ir.Constant(threads.type, 1)))


@intrinsic
def _increase(typingctx: Any, counter: Any) -> Any:
    """Add 1 atomically; the value before."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", args[0], context.get_constant(types.int64, 1), "seq_cst")

    return types.int64(counter), codegen


@intrinsic
def _look(typingctx: Any, counter: Any) -> Any:
    """The value now, past any cache of the compiler."""
    return types.int64(counter), lambda context, builder, sig, args: builder.load_atomic(args[0], "seq_cst", 8)


@njit(**JIT)
def meet(arrivals, threads):
    """Wait until all ``threads`` are here. ``arrivals`` points to an int64 that starts at 0 and counts all arrivals."""
    if threads == 1:
        return
    goal = (_increase(arrivals) // threads + 1) * threads
    spins = 0
    while _look(arrivals) < goal:
        spins += 1
        if spins > SPINS:
            _yield_processor()
