"""A meeting point of threads inside compiled code, for passes over one state that several threads share."""

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.extending import intrinsic

from qworkbench.engines.statevector.native.registers import JIT, after

SPINS = 2000
"""Looks at the counter before the processor is offered to others."""

_yield_processor = types.ExternalFunction("sched_yield", types.int32())


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
    """Wait until all ``threads`` are here, or nobody may wait any more.

    ``arrivals`` points to two int64 that start at 0: the first counts all arrivals; the second is set when one of the
    threads has failed and will never come. The others then run through, and their results are thrown away.
    """
    if threads == 1:
        return
    goal = (_increase(arrivals) // threads + 1) * threads
    spins = 0
    while _look(arrivals) < goal and _look(after(arrivals, 1)) == 0:
        spins += 1
        if spins > SPINS:
            _yield_processor()
