"""Exact posteriors over the trees of a yield: the inside and outside algorithms.

A constituent is built from its head leftwards: the symbols of a rule are taken off its right-hand
side from the right, and each covers some tokens to the left of those before. ``X`` holds, for one
place of the head, the weight of the tokens from a place on, after so many symbols of every rule.

Shape suffixes: ``B`` documents, ``L`` places, ``A`` nonterminals, ``R`` rules (and one more that
weighs nothing, to pad tables with), ``J`` rules of a nonterminal, ``P`` places up to the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from mecheval.tasks.treecall.grammar import Grammar


@dataclass(frozen=True)
class _Step:
    """One symbol of every rule that has as many, counted from the right.

    Attributes:
        rules: Rules whose symbol is a terminal.
        terminals: Those terminals.
        kinds: Nonterminals that are a rule's symbol.
        table_AJ: The rules of each of them, padded with the one that weighs nothing.
        finished_RA: 1 where a rule of a nonterminal has no further symbol.
    """

    rules: np.ndarray
    terminals: np.ndarray
    kinds: np.ndarray
    table_AJ: np.ndarray
    finished_RA: np.ndarray


class _Tables:
    """The rules of a grammar in one row, and their symbols step by step."""

    def __init__(self, grammar: Grammar) -> None:
        kind_R, number_R = np.nonzero(grammar.rule_AR)
        self.n_rules, self.kind_R = len(kind_R), kind_R
        self.weight_R = grammar.rule_AR[kind_R, number_R]
        self.head_AW = grammar.head_AW
        length_R = grammar.length_AR[kind_R, number_R]
        rhs_RS = grammar.rhs_ARS[kind_R, number_R]
        self.steps = [
            self._step(length_R, rhs_RS, taken, grammar.n_terminals)
            for taken in range(1, int(length_R.max()) + 1)
        ]

    def _step(
        self, length_R: np.ndarray, rhs_RS: np.ndarray, taken: int, n_terminals: int
    ) -> _Step:
        rules = np.flatnonzero(length_R >= taken)
        symbols = rhs_RS[rules, length_R[rules] - taken]
        is_terminal = symbols < n_terminals
        kinds, which = np.unique(symbols[~is_terminal] - n_terminals, return_inverse=True)
        members = [rules[~is_terminal][which == index] for index in range(len(kinds))]
        most = max(map(len, members), default=0)
        table_AJ = np.full((len(kinds), most), self.n_rules)
        for row, numbers in enumerate(members):
            table_AJ[row, : len(numbers)] = numbers
        finished_RA = np.zeros((self.n_rules + 1, len(self.head_AW)))
        finished = np.flatnonzero(length_R == taken)
        finished_RA[finished, self.kind_R[finished]] = 1.0
        return _Step(rules[is_terminal], symbols[is_terminal], kinds, table_AJ, finished_RA)


class Chart:
    """Inside weights of all spans of some documents.

    Attributes:
        token_BL: Terminals, -1 behind the last.
        inside_BALL: Probability of a nonterminal (second axis) to become the tokens from a place
            (third) up to before another (fourth).
    """

    def __init__(self, grammar: Grammar, token_BL: np.ndarray) -> None:
        self._tables = _Tables(grammar)
        self.token_BL = token_BL
        self._length_B = (token_BL >= 0).sum(1)
        n, n_places = token_BL.shape
        n_kinds = grammar.n_nonterminals
        self.inside_BALL = np.zeros((n, n_kinds, n_places + 1, n_places + 1))
        for head in range(n_places):
            _, inside_BPA = self._up_to(head)
            self.inside_BALL[:, :, : head + 1, head + 1] = inside_BPA.transpose(0, 2, 1)

    @cached_property
    def evidence_B(self) -> np.ndarray:
        """Return the probability of every yield, the root being any nonterminal."""
        row_B = np.arange(len(self.token_BL))
        return self.inside_BALL[row_B, :, 0, self._length_B].mean(1)

    def _up_to(self, head: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Take the symbols of all rules to the left of a head.

        Returns:
            Weights ``(B, P, R)`` after 0, 1, ... symbols, and of the finished constituents
            ``(B, P, A)`` by the place where they begin.
        """
        tables, token_BL = self._tables, self.token_BL
        n, n_rules = len(token_BL), tables.n_rules
        head_BA = tables.head_AW[:, np.maximum(token_BL[:, head], 0)].T
        x_BPR = np.zeros((n, head + 1, n_rules + 1))
        x_BPR[:, head, :n_rules] = tables.weight_R * head_BA[:, tables.kind_R]
        weights, inside_BPA = [x_BPR], 0.0
        span_BALL = self.inside_BALL[:, :, : head + 1, : head + 1]
        for step in tables.steps:
            y_BPR = np.zeros_like(x_BPR)
            match_BPR = token_BL[:, :head, None] == step.terminals
            y_BPR[:, :-1, step.rules] = x_BPR[:, 1:, step.rules] * match_BPR
            if len(step.kinds):
                next_BAPJ = x_BPR[:, :, step.table_AJ].transpose(0, 2, 1, 3)
                taken_BAPJ = span_BALL[:, step.kinds] @ next_BAPJ
                y_BPR[:, :, step.table_AJ] = taken_BAPJ.transpose(0, 2, 1, 3)
                y_BPR[..., n_rules] = 0.0
            inside_BPA = inside_BPA + y_BPR @ step.finished_RA
            weights.append(y_BPR)
            x_BPR = y_BPR
        return weights, np.asarray(inside_BPA)

    def parents(self) -> np.ndarray:
        """Return the posterior of every token's parent.

        The outside weights are those of the derivative of the evidence with respect to the inside
        ones (Eisner 2016), found head by head from the right.

        Returns:
            Probabilities ``(B, L, L)``: of the place on the second axis to have the parent at the
            place on the third, given the yield. The root's row is 0.

        Raises:
            UsageError: The grammar does not make one of the yields.
        """
        if not (self.evidence_B > 0).all():
            raise UsageError("The grammar makes no tree with one of these yields.")
        n, n_places = self.token_BL.shape
        row_B = np.arange(n)
        outside_BALL = np.zeros_like(self.inside_BALL)
        n_kinds = outside_BALL.shape[1]
        outside_BALL[row_B, :, 0, self._length_B] = 1.0 / (n_kinds * self.evidence_B[:, None])
        parent_BLL = np.zeros((n, n_places, n_places))
        for head in range(n_places - 1, -1, -1):
            parent_BLL[:, :head, head] = self._back_from(head, outside_BALL)
        return parent_BLL

    def _back_from(self, head: int, outside_BALL: np.ndarray) -> np.ndarray:
        """Go back through what :meth:`_up_to` does, and add to the outside weights of its spans.

        Returns:
            Probability of the places before the head to be the end of one of its children.
        """
        tables, weights = self._tables, self._up_to(head)[0]
        part = (slice(None), slice(None), slice(head + 1), slice(head + 1))
        span_BALL = self.inside_BALL[part]
        done_BPA = outside_BALL[:, :, : head + 1, head + 1].transpose(0, 2, 1)
        back_BPR = np.zeros_like(weights[0])
        child_BP = np.zeros(back_BPR.shape[:2])
        for step, x_BPR in zip(reversed(tables.steps), reversed(weights[:-1]), strict=True):
            back_BPR = back_BPR + done_BPA @ step.finished_RA.T
            before_BPR = np.zeros_like(back_BPR)
            match_BPR = self.token_BL[:, :head, None] == step.terminals
            before_BPR[:, 1:, step.rules] = back_BPR[:, :-1, step.rules] * match_BPR
            if len(step.kinds):
                back_BAPJ = back_BPR[:, :, step.table_AJ].transpose(0, 2, 1, 3)
                next_BAPJ = x_BPR[:, :, step.table_AJ].transpose(0, 2, 1, 3)
                index = (slice(None), step.kinds, slice(head + 1), slice(head + 1))
                outside_BALL[index] += back_BAPJ @ next_BAPJ.swapaxes(2, 3)
                taken_BAPJ = span_BALL[:, step.kinds].swapaxes(2, 3) @ back_BAPJ
                before_BPR[:, :, step.table_AJ] = taken_BAPJ.transpose(0, 2, 1, 3)
                before_BPR[..., tables.n_rules] = 0.0
            child_BP += (before_BPR * x_BPR).sum(2)
            back_BPR = before_BPR
        return child_BP[:, 1:]
