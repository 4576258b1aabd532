"""Several trainings of one shape, step by step together: one forward and backward pass for all.

Every training keeps its own parameters, optimizers, learning rate, data, validation, stop rule and
checkpoints. Only the passes are shared: the parameters are stacked, ``torch.func.vmap`` carries the
stack through the model, and each training takes its slice of the gradient. Trainings that end drop
out. Where a model cannot be stacked, each of them is trained by itself.

Shape suffixes: ``E`` members, ``B`` batch, ``T`` position, ``C`` vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mecheval.models.kernels.vmap_rules import lifted
from mecheval.tasks.batch import UNSCORED
from mecheval.training import stopping
from mecheval.training.loop import upcast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.training.checkpoints import Checkpoint
    from mecheval.training.loop import Trainer


class Ensemble:
    """Trainings of one shape.

    Attributes:
        reason: Why its members are trained one by one, if they are.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        """Take trainers whose models have the same architecture and vocabulary."""
        self.trainers = list(trainers)
        self.reason = _obstacle(self.trainers)
        self._went = False  # whether a step was taken together
        _share_data(self.trainers)

    def run(self, checkpoints: Sequence[Checkpoint | None]) -> Iterator[Trainer]:
        """Train all members, and yield each as it ends.

        Args:
            checkpoints: Where the progress of each is kept and resumed from; not kept if None.
        """
        for ended in self.steps(checkpoints):
            for trainer in ended:
                trainer.finish()
                yield trainer

    def steps(self, checkpoints: Sequence[Checkpoint | None]) -> Iterator[list[Trainer]]:
        """Yield after every step those members that take no more; see :meth:`run`.

        Raises:
            Stopped: That was asked for from outside; the progress of all is kept.
        """
        with stopping.between_steps():
            for trainer, checkpoint in zip(self.trainers, checkpoints, strict=True):
                trainer.start(checkpoint)
            going = list(self.trainers)
            while going:
                self._step(going)
                ended = [trainer for trainer in going if not trainer.going]
                going = [trainer for trainer in going if trainer.going]
                yield ended
                if stopping.is_asked():
                    for trainer in going:
                        trainer.keep()
                    stopping.end_if_asked()

    def _step(self, going: Sequence[Trainer]) -> None:
        """Take one step of those members that are furthest behind, as after an interruption."""
        behind = min(trainer.progress.step for trainer in going)
        chosen = [trainer for trainer in going if trainer.progress.step == behind]
        if self.reason is not None:
            chosen = list(going[:1])
        chosen = [trainer for trainer in chosen if trainer.going]
        for alike in self._alike(chosen):
            for trainer, loss in zip(alike, self._losses(alike), strict=True):
                trainer.advance(loss)

    def _alike(self, trainers: Sequence[Trainer]) -> list[list[Trainer]]:
        """Group members whose batches have the same shape at this step."""
        by_shape: dict[tuple[int, ...], list[Trainer]] = {}
        for trainer in trainers:
            shape = trainer.examples().tokens_BT.shape if len(trainers) > 1 else ()
            by_shape.setdefault(shape, []).append(trainer)
        return list(by_shape.values())

    def _losses(self, alike: Sequence[Trainer]) -> list[float]:
        """Take a step with members whose batches have the same shape, and return their losses."""
        if len(alike) > 1 and self.reason is None:
            try:
                losses_E, gradients = self._backward(alike)
            except (RuntimeError, TypeError) as error:
                if self._went and not isinstance(error, torch.OutOfMemoryError):
                    raise  # it is not the architecture
                self.reason = str(error).partition("\n")[0]
            else:
                self._went = True
                for i, trainer in enumerate(alike):
                    trainer.progress.together = max(trainer.progress.together, len(alike))
                    for name, parameter in trainer.parameters.items():
                        if (gradient := gradients.get(name)) is not None:
                            parameter.grad = gradient[i]
                    trainer.update()
                return losses_E.tolist()
        return [trainer.step() for trainer in alike]

    def _backward(self, alike: Sequence[Trainer]) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Return the loss of every member, and the gradients of the stacked parameters."""
        first = alike[0]
        by_member = [trainer.parameters for trainer in alike]
        stacked = {
            name: torch.stack([parameters[name].detach() for parameters in by_member])
            for name in by_member[0]
        }
        wanted = [name for name, parameter in by_member[0].items() if parameter.requires_grad]
        for name in wanted:
            stacked[name].requires_grad_()
        examples = [trainer.examples() for trainer in alike]
        end = max(part.end_B.max() for part in examples)
        inputs = (trainer.inputs(part, end) for trainer, part in zip(alike, examples, strict=True))
        tokens_EBT, targets_EBT = (torch.stack(part) for part in zip(*inputs, strict=True))
        for trainer in alike:
            trainer.train_mode()

        def forward(parameters: dict[str, Tensor], tokens_BT: Tensor) -> Tensor:
            return torch.func.functional_call(first.model, parameters, (tokens_BT,))

        with first.accelerator.autocast(), lifted():
            logits_EBTC = torch.func.vmap(forward)(stacked, tokens_EBT)
            losses_E = _losses_of(logits_EBTC, targets_EBT)
        found = torch.autograd.grad(
            losses_E.sum(), [stacked[name] for name in wanted], allow_unused=True
        )
        # Contiguous, because fused optimizers take gradients to lie in memory as parameters do.
        gradients = (None if value is None else value.contiguous() for value in found)
        return losses_E.detach(), dict(zip(wanted, gradients, strict=True))


def _losses_of(logits_EBTC: Tensor, targets_EBT: Tensor) -> Tensor:
    """Return every member's mean loss over its scored positions."""
    loss_X = nn.functional.cross_entropy(
        upcast(logits_EBTC).flatten(0, 2), targets_EBT.flatten(),
        ignore_index=UNSCORED, reduction="none",
    )  # fmt: skip
    n_scored_E = (targets_EBT != UNSCORED).flatten(1).sum(1)
    return loss_X.view(len(targets_EBT), -1).sum(1) / n_scored_E


def _obstacle(trainers: Sequence[Trainer]) -> str | None:
    """Say why models cannot be stacked, as far as it shows without trying."""
    if any(trainer.has_dropout for trainer in trainers):
        return "dropout draws its own noise for every model"
    first = dict(trainers[0].model.named_buffers())
    for trainer in trainers[1:]:
        for name, buffer in trainer.model.named_buffers():
            if not torch.equal(buffer, first[name]):
                return f"the buffer {name} differs between the models"
    return None


def _share_data(trainers: Sequence[Trainer]) -> None:
    """Let members that see the same examples draw them once."""
    drawn = {}
    for trainer in trainers:
        trainer.data = drawn.setdefault((trainer.seed, trainer.recipe.batch), trainer.data)
