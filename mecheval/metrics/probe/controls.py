"""What ridge probes find of a state that the model was never asked for, and of shuffled labels.

Where a probe reads a variable, it may read it because a network keeps much of any word. The control
task asks it for a state of the same kind: that of a random automaton with as many states as the
variable has values, run over the same words (after Hewitt and Liang 2019, arXiv:1909.03368, whose
random label per token asks for no memory, and is solved wherever the stream holds the token).
Every token permutes the automaton's states at random, so that it forgets nothing, as a group's
running product does, and no window over the last tokens tells of it.

Shape suffixes: ``L`` layers, ``N`` training and ``M`` test sequences, ``T`` positions, ``J`` label
sets or draws of a control, ``X`` kinds of tokens, ``S`` states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import layer_curves
from mecheval.metrics.probe import probes

if TYPE_CHECKING:
    from mecheval.metrics.probe.design import Design
    from mecheval.metrics.probe.probe_data import ProbeData

_TRIED = 10  # automata that are drawn for each that is asked for
_ROWS = 1000  # sequences on which it is seen whether an automaton will do
_TOLD = 0.1  # by which a table may tell its state better than chance


@dataclass(frozen=True)
class Controls:
    """Balanced accuracies of ridge probes, which say how much a probe can do by itself.

    Attributes:
        ridge_L: On the true labels: the same probe as the controls'.
        control_LJ: On states of random automata; none where none could be drawn.
        shuffled_LJ: On labels shuffled over sequences.
        chance_J: Chance of every automaton.
    """

    ridge_L: np.ndarray
    control_LJ: np.ndarray
    shuffled_LJ: np.ndarray
    chance_J: np.ndarray

    @property
    def control_L(self) -> np.ndarray:
        """Return the mean accuracy on states of random automata; NaN without any."""
        if not self.control_LJ.shape[1]:
            return np.full(len(self.ridge_L), np.nan)
        return self.control_LJ.mean(1)

    def selectivity_L(self, tables: float) -> np.ndarray:
        """Return what is read of the variable less what is read of a random automaton.

        Both are taken above what can be told without the model, and as a share of the room above
        it: above the accuracy of tables for the variable, above chance for automata.

        Args:
            tables: Accuracy of the best table over positions or last symbols.
        """
        if not self.chance_J.size:
            return np.full(len(self.ridge_L), np.nan)
        own_L = layer_curves.corrected(self.ridge_L, tables)
        return own_L - layer_curves.corrected(self.control_L, self.chance_J.mean())


@dataclass(frozen=True)
class LabelSets:
    """Labels that ridge probes are asked for: the true ones, states of automata, shuffled ones.

    Attributes:
        targets: What probes are fitted to on the training sequences.
        labels_JM: The right classes of the test sequences.
        weight_JM: What a right answer adds to the balanced accuracy of its label set.
        n_automata: How many of the label sets are states of automata.
    """

    targets: probes.RidgeTargets
    labels_JM: np.ndarray
    weight_JM: np.ndarray
    n_automata: int

    @classmethod
    def draw(cls, data: ProbeData, n_draws: int, rng: np.random.Generator) -> LabelSets:
        """Draw each control some times; the true labels come first, then the automata's states."""
        sets = []
        states = automata_states(data, n_draws, rng)
        for split, state_JN in zip(("train", "test"), states, strict=True):
            labels_N = data.labels(split)
            shuffled_JN = rng.permuted(np.tile(labels_N, (n_draws, 1)), axis=1)
            sets.append(np.concatenate([labels_N[None], state_JN, shuffled_JN]))
        labels_JN, labels_JM = sets
        size_JM = np.stack([np.bincount(labels_M)[labels_M] for labels_M in labels_JM])
        n_present_J1 = (1.0 / size_JM).sum(1, keepdims=True)  # every class adds up to 1
        targets = probes.RidgeTargets.of(labels_JN, len(data.classes))
        return cls(targets, labels_JM, 1.0 / (n_present_J1 * size_JM), len(states[0]))

    def accuracy_J(self, of_train: Design, test_MD: np.ndarray) -> np.ndarray:
        """Fit on training features; return the balanced test accuracy of every label set."""
        test_ME = of_train.scaler.with_ones(test_MD)
        predicted_JM = probes.ridge_predictions(of_train, self.targets, test_ME)
        return ((predicted_JM == self.labels_JM) * self.weight_JM).sum(1)

    def controls(self, accuracy_LJ: np.ndarray) -> Controls:
        """Take the accuracies of all label sets apart."""
        automata = slice(1, 1 + self.n_automata)
        n_present_J = [len(np.unique(labels_M)) for labels_M in self.labels_JM[automata]]
        return Controls(
            accuracy_LJ[:, 0], accuracy_LJ[:, automata], accuracy_LJ[:, automata.stop :],
            1.0 / np.array(n_present_J, float),
        )  # fmt: skip


def automata_states(
    data: ProbeData, n_draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw random automata and run them over the words up to the probed positions.

    One is left out whose state the position, the last token or the variable itself tells: the
    variable would be asked for again.

    Args:
        data: The words, and as many classes as there are to be states.
        n_draws: Number of automata.
        rng: Decides them.

    Returns:
        States of the training and of the test sequences, ``(J, N)`` and ``(J, M)``; fewer than
        asked for where fewer will do, such as none over words of a single token.
    """
    words = [data.words(split) for split in ("train", "test")]
    types = np.unique(np.concatenate([tokens_NT.ravel() for tokens_NT, _ in words]))
    coded = [(np.searchsorted(types, tokens_NT), position_N) for tokens_NT, position_N in words]
    states_JXS = np.tile(np.arange(len(data.classes)), (_TRIED * n_draws, len(types), 1))
    table_JXS = rng.permuted(states_JXS, axis=2)
    few_NT, position_N = (array[:_ROWS] for array in coded[0])
    state_JN = _run(table_JXS, few_NT, position_N)
    told_J = np.zeros(len(table_JXS), bool)
    last_N = few_NT[np.arange(len(few_NT)), position_N]
    for context_N in (position_N, last_N, data.labels("train")[:_ROWS]):
        told_J |= _told(state_JN, context_N) > 1 / len(data.classes) + _TOLD
    chosen_JXS = table_JXS[~told_J][:n_draws]
    of_train, of_test = (_run(chosen_JXS, *word) for word in coded)
    return of_train, of_test


def _run(table_JXS: np.ndarray, token_NT: np.ndarray, position_N: np.ndarray) -> np.ndarray:
    """Return the states after the positions, ``(J, N)``."""
    row_J1 = np.arange(len(table_JXS))[:, None]
    state_JN = np.zeros((len(table_JXS), len(token_NT)), np.intp)
    for t, token_N in enumerate(token_NT.T[: position_N.max(initial=0) + 1]):
        state_JN = np.where(t <= position_N, table_JXS[row_J1, token_N, state_JN], state_JN)
    return state_JN


def _told(state_JN: np.ndarray, context_N: np.ndarray) -> np.ndarray:
    """Return how often a table from a context to a state, filled on one half, is right on another.

    Returns:
        Accuracy by automaton, ``(J,)``.
    """
    n_states, n_contexts = state_JN.max(initial=0) + 1, context_N.max(initial=0) + 1
    half = state_JN.shape[1] // 2
    row_J1 = np.arange(len(state_JN))[:, None]
    cell_JN = (row_J1 * n_contexts + context_N) * n_states + state_JN
    size = len(state_JN) * n_contexts * n_states
    count = np.bincount(cell_JN[:, :half].ravel(), minlength=size)
    guess_JX = count.reshape(len(state_JN), n_contexts, n_states).argmax(2)
    return (guess_JX[row_J1, context_N[half:]] == state_JN[:, half:]).mean(1)
