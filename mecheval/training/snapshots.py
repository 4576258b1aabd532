"""Sets of weights along a training, so that metrics can be followed over its steps.

The untrained weights are number 0, those at the n-th validation number n. How many validations
there will be is not known before the end; so weights are kept at every one at first, and whenever
there are more than twice as many as asked for, every second one is dropped from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval.errors import StorageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mecheval.training.checkpoints import Checkpoint


class Snapshots:
    """The snapshots in the checkpoint folder of a training."""

    def __init__(self, checkpoint: Checkpoint, most: int) -> None:
        """Keep at most twice ``most`` sets of weights during the training, and ``most`` after."""
        self.checkpoint, self.most = checkpoint, most

    def keep(
        self,
        model: nn.Module,
        *,
        index: int,
        step: int,
        accuracy: float,
        loss: float | None = None,
    ) -> None:
        """Store the weights, if their turn has come, and drop those whose turn is over.

        Args:
            model: The model with the weights.
            index: Number of validations so far.
            step: Number of steps so far.
            accuracy: Validation accuracy of these weights.
            loss: Their validation loss, where the gate is on it.
        """
        stride = self._stride(index)
        if index % stride == 0:
            state = {"step": step, "accuracy": accuracy, "loss": loss}
            self.checkpoint.save_snapshot(index, model.state_dict(), state)
        for kept in self.checkpoint.snapshots():
            if kept % stride:
                self.checkpoint.drop_snapshot(kept)

    def close(
        self,
        model: nn.Module,
        *,
        index: int,
        step: int,
        accuracy: float,
        loss: float | None = None,
    ) -> None:
        """Store the last weights, and keep only what :meth:`chosen` returns."""
        state = {"step": step, "accuracy": accuracy, "loss": loss}
        self.checkpoint.save_snapshot(index, model.state_dict(), state)
        # What an interrupted training left beyond its end is of another length.
        there = [kept for kept in self.checkpoint.snapshots() if kept <= index]
        chosen = evenly(there, self.most)
        for kept in self.checkpoint.snapshots():
            if kept not in chosen:
                self.checkpoint.drop_snapshot(kept)

    def chosen(self) -> list[int]:
        """Return the numbers of the snapshots of a finished training, the last being its end."""
        return self.checkpoint.snapshots()

    def load(self, index: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return weights, and their step, validation accuracy and loss.

        Raises:
            StorageError: They are no longer there.
        """
        found = self.checkpoint.load_snapshot(index)
        if found is None:
            raise StorageError(
                f"Snapshot {index} in {self.checkpoint.folder} is gone. Delete that folder and run "
                "the command again."
            )
        return found

    def at_step(self, step: int) -> dict[str, Tensor]:
        """Return the weights after so many steps.

        Raises:
            StorageError: They are no longer there.
        """
        for index in self.chosen():
            weights, state = self.load(index)
            if state["step"] == step:
                return weights
        raise StorageError(
            f"The snapshot at step {step} in {self.checkpoint.folder} is gone. Delete that folder "
            "and run the command again."
        )

    def _stride(self, n_validations: int) -> int:
        stride = 1
        while n_validations // stride > 2 * self.most:
            stride *= 2
        return stride


def evenly(numbers: list[int], most: int) -> list[int]:
    """Return the first, the last, and those between them that lie closest to even steps."""
    first, last = numbers[0], numbers[-1]
    wanted = [first + (last - first) * i / (most - 1) for i in range(most)]
    return sorted({min(numbers, key=lambda number: (abs(number - at), number)) for at in wanted})
