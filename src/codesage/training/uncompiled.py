"""Optimizers that start without torch's compiler.

torch wraps methods of its optimizers in code for its compiler. The first call then loads the compiler, which takes two seconds
of CPU time, also in runs that compile nothing. The classes here have the same methods without the wrapping.
"""

import inspect

import torch
from torch import Tensor


class Uncompiled(torch.optim.Optimizer):
    """The base of all optimizers here.

    `found_inf`: a scalar on the device of the parameters; where it is 1, `step` moves nothing, also with gradients that are
    not finite, and where it is 0 or None, it does what it always does. The name is torch's, whose fused optimizers read it.
    """

    found_inf: Tensor | None = None
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)


class AdamW(Uncompiled, torch.optim.AdamW):
    """torch.optim.AdamW, never differentiable."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


class LBFGS(Uncompiled, torch.optim.LBFGS):
    """torch.optim.LBFGS."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.LBFGS.step))
