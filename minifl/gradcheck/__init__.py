"""Gradient checks, of our layers and of anybody's.

    from minifl.gradcheck import check
    print(check(forward, backward, {"x": x, "gain": gain}))

check         a pair y, cache = forward(*inputs), gradients = backward(dy, cache), on given inputs; returns a Report
from_vjp      such a pair of a plain f(*inputs) with vjp(*inputs, dy)
from_torch    of a PyTorch function, differentiated by autograd
from_jax      of a JAX function, differentiated by jax.vjp
minifl.gradcheck.strategies, minifl.gradcheck.pytest     shapes by hypothesis, test cases for a whole module

The rest: the instruments, the registry of what minifl checks of itself, wrong backward passes that must be caught.
"""

from minifl.gradcheck.adapters import from_jax, from_torch, from_vjp
from minifl.gradcheck.check import check
from minifl.gradcheck.findings import Block, Property, Report

__all__ = ["Block", "Property", "Report", "check", "from_jax", "from_torch", "from_vjp"]
