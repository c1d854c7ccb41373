"""One adapter for each stack that ``benchmarks.compare`` knows.

To add a stack, write a subclass of :class:`benchmarks.stacks.base.Stack` and name it here.  Adapters are
imported only in the processes that run them.
"""

from __future__ import annotations

from importlib import import_module

from benchmarks.stacks.base import Stack

STACKS = {
    "cwt": "benchmarks.stacks.cwt_stack:CwtStack",
    "aioquic": "benchmarks.stacks.aioquic_stack:AioquicWebTransport",
    "aioquic-raw": "benchmarks.stacks.aioquic_stack:AioquicRaw",
}


def load(name: str) -> Stack:
    """The adapter called *name*."""
    module, _, attribute = STACKS[name].partition(":")
    stack: Stack = getattr(import_module(module), attribute)()
    return stack
