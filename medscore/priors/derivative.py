r"""The derivative of the denoised image by the noisy image, as vector-Jacobian products."""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.priors.base import Prior
from medscore.types import State, Times


def differentiable(prior: Prior, x: State, t: Times) -> tuple[State, State]:
    """The state as a leaf of the autograd graph, and the denoised image with its graph.

    Args:
        prior: the prior to evaluate.
        x: states, (batch, ...).
        t: times, (batch,).
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        return leaf, prior.denoise(leaf, t)


def pull_back(denoised: State, leaf: State, v: Tensor, *, keep: bool = False) -> State:
    r"""The vector-Jacobian product :math:`(\partial D / \partial x)^T v`.

    Args:
        denoised: denoised image D with its graph.
        leaf: state x, the leaf of that graph.
        v: vector in the shape of ``denoised``.
        keep: whether to keep the graph for further products.
    """
    (product,) = torch.autograd.grad(denoised, leaf, v.to(denoised.dtype), retain_graph=keep)
    return product.to(leaf.dtype)


def push_forward(denoised: State, leaf: State, v: Tensor) -> State:
    r"""The Jacobian-vector product :math:`(\partial D / \partial x)\, v`; keeps the graph.

    The product :math:`(\partial D / \partial x)^T u` is linear in u, and its own derivative by u,
    transposed, is the product wanted.

    Args:
        denoised: denoised image D with its graph.
        leaf: state x, the leaf of that graph.
        v: vector in the shape of ``leaf``.
    """
    with torch.enable_grad():
        u = torch.zeros_like(denoised, requires_grad=True)
        (back,) = torch.autograd.grad(
            denoised, leaf, u, create_graph=True, retain_graph=True, materialize_grads=True
        )
    if not back.requires_grad:
        return torch.zeros_like(leaf)
    (product,) = torch.autograd.grad(back, u, v.to(back.dtype), retain_graph=True)
    return product.to(leaf.dtype)


def check_graph(denoised: State, prior: Prior) -> None:
    """Reject a denoised image without a derivative by the noisy image.

    Args:
        denoised: denoised image.
        prior: the prior that computed it.

    Raises:
        MedscoreError: the prior computed it without a graph.
    """
    if not denoised.requires_grad:
        raise MedscoreError(
            f"the denoised image of {type(prior).__name__} has no derivative, which second-order "
            "scores and covariances need",
            hint="use another sampler or conditioner, or compute it by functions of torch",
        )
