"""Gradient checks, of our layers and of anybody's.

    from minifl.gradcheck import check
    print(check(forward, backward, {"x": x, "gain": gain}))

check         a pair y, cache = forward(*inputs), gradients = backward(dy, cache), on given inputs; returns a Report
from_vjp      such a pair of a plain f(*inputs) with vjp(*inputs, dy)
from_loss     of a function that returns (loss, gradients)
from_outputs  of functions with several outputs
from_object   of a class or object with methods forward and backward, gradients in its attributes
with_options  a forward pass with options, such as a dictionary, copied freshly for each call
from_torch    of a PyTorch function, differentiated by autograd
from_jax      of a JAX function, differentiated by jax.vjp
minifl.gradcheck.strategies, minifl.gradcheck.pytest     shapes by hypothesis, test cases for a whole module

The rest: the instruments, the registry of what minifl checks of itself, wrong backward passes that must be caught.
"""

from minifl.gradcheck.adapters import from_jax, from_loss, from_outputs, from_torch, from_vjp, with_options
from minifl.gradcheck.check import check
from minifl.gradcheck.findings import Block, Property, Report
from minifl.gradcheck.objects import from_object

__all__ = ["Block", "Property", "Report", "check", "from_jax", "from_loss", "from_object", "from_outputs", "from_torch",
           "from_vjp", "with_options"]
