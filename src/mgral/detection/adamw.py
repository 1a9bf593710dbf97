"""AdamW (Loshchilov and Hutter 2019) in one kernel a step, without torch's compiler.

``torch.optim.AdamW(fused=True)`` calls the same kernel, and gives the same bits. But each of its methods imports the
compiler, which takes as long as ten steps of a small detector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """The optimiser of some weights of one device and type, with the part of torch's interface that a loop needs.

    Attributes:
        param_groups: one, whose ``lr`` is the learning rate of the next step.
    """

    def __init__(self, weights: Sequence[nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        self._weights, self._decay = list(weights), weight_decay
        self.param_groups: list[dict[str, Any]] = [{"params": self._weights, "lr": learning_rate}]
        self._state: dict[int, tuple[Tensor, Tensor, Tensor]] = {}  # by place: steps, both averages

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for weight in self._weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights that have a gradient."""
        reached = [place for place, weight in enumerate(self._weights) if weight.grad is not None]
        if not reached:
            return
        for place in reached:
            if place not in self._state:
                weight = self._weights[place]
                count = torch.zeros((), dtype=torch.float32, device=weight.device)
                self._state[place] = count, torch.zeros_like(weight), torch.zeros_like(weight)
        counts, averages, squares = (list(part) for part in zip(*(self._state[k] for k in reached), strict=True))
        torch._foreach_add_(counts, 1)
        torch._fused_adamw_(
            [self._weights[k] for k in reached],
            [grad for k in reached if (grad := self._weights[k].grad) is not None],
            averages,
            squares,
            [],
            counts,
            lr=self.param_groups[0]["lr"],
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self._decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Tensors by the place of their weight, for :meth:`load_state_dict`."""
        return {"state": {place: list(parts) for place, parts in self._state.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was asked."""
        for place, parts in state["state"].items():
            count, average, square = (part.to(self._weights[place].device) for part in parts)
            self._state[place] = count, average, square
