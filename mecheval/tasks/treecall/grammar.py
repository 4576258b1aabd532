"""Random lexicalised grammars whose heads stand to the right, as tables.

A constituent of nonterminal ``A`` is the right-hand side of one of its rules, followed by a head: a
terminal that is drawn anew every time. Symbols are numbered terminals first.

Shape suffixes: ``A`` nonterminals, ``R`` rules of a nonterminal, ``S`` places of a right-hand side,
``W`` terminals, ``X`` expanded constituents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np


@dataclass(frozen=True, kw_only=True)
class GrammarShape:
    """What a random grammar is drawn from.

    Attributes:
        terminals: Number of terminals.
        nonterminals: Number of nonterminals; each is as likely as any other to be the root.
        max_rhs: Most symbols of a constituent, its head included; the right-hand sides of rules
            have 1 to ``max_rhs - 1``.
        max_rules: Most rules of a nonterminal.
        max_depth: Number of levels. A nonterminal only becomes ones of greater levels, so that no
            terminal is deeper than this.
        tau: Weight of a terminal at a place of a right-hand side where every allowed nonterminal
            weighs 1; the number of terminals where 0.
        transparent: Whether every nonterminal has a head of its own, which stands nowhere else.
        seed: Decides the grammar. With ``tau``, the shapes of its trees do not depend on the
            number of terminals.
    """

    terminals: int = 20
    nonterminals: int = 40
    max_rhs: int = 5
    max_rules: int = 5
    max_depth: int = 10
    tau: float = 0.0
    transparent: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Grammar:
    """A grammar as tables.

    Attributes:
        rhs_ARS: Symbols of every rule, padded with -1; a nonterminal's symbol is its number plus
            the number of terminals.
        length_AR: Number of symbols of every rule.
        rule_AR: Probability of every rule; 0 for rules that there are not.
        head_AW: Probability of every head.
    """

    rhs_ARS: np.ndarray
    length_AR: np.ndarray
    rule_AR: np.ndarray
    head_AW: np.ndarray

    @property
    def n_nonterminals(self) -> int:
        """Return the number of nonterminals."""
        return len(self.head_AW)

    @property
    def n_terminals(self) -> int:
        """Return the number of terminals; symbols from here on are nonterminals."""
        return self.head_AW.shape[1]

    @cached_property
    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        return _summed(self.rule_AR), _summed(self.head_AW)

    def draw_rules(self, rng: np.random.Generator, kind_X: np.ndarray) -> np.ndarray:
        """Draw a rule for every constituent.

        Args:
            rng: Decides the rules.
            kind_X: Nonterminals of the constituents.
        """
        return _draw(rng, self._sums[0], kind_X)

    def draw_heads(self, rng: np.random.Generator, kind_X: np.ndarray) -> np.ndarray:
        """Draw a head for every constituent; arguments as those of :meth:`draw_rules`."""
        return _draw(rng, self._sums[1], kind_X)


def _summed(share_AX: np.ndarray) -> np.ndarray:
    """Add up the probabilities of every row, from the row's number on; no row runs over."""
    sum_AX = np.minimum(share_AX.cumsum(1), 1.0)
    last_A = share_AX.shape[1] - 1 - (share_AX[:, ::-1] > 0).argmax(1)
    sum_AX[np.arange(share_AX.shape[1]) >= last_A[:, None]] = 1.0
    return sum_AX + np.arange(len(sum_AX))[:, None]


def _draw(rng: np.random.Generator, sum_AX: np.ndarray, kind_X: np.ndarray) -> np.ndarray:
    """Invert the sums of one row per constituent, all rows in one sorted array."""
    drawn_X = np.minimum(kind_X + rng.random(len(kind_X)), np.nextafter(kind_X + 1.0, 0.0))
    return np.searchsorted(sum_AX.ravel(), drawn_X, side="right") - kind_X * sum_AX.shape[1]


@lru_cache(maxsize=16)
def random_grammar(shape: GrammarShape) -> Grammar:
    """Draw a grammar (Arora et al. 2025, arXiv:2505.15105, section 5 and appendix B).

    Levels are uniform over 1 to ``max_depth``, the number of rules and the lengths of their
    right-hand sides uniform over what is allowed, the probabilities of rules and of heads uniform
    over all distributions (Dirichlet with ones).

    Args:
        shape: What it is drawn from; the same shape gives the same grammar.
    """
    rng = np.random.default_rng(shape.seed)
    n_nonterminals, n_places = shape.nonterminals, shape.max_rhs - 1
    level_A = rng.integers(1, shape.max_depth + 1, size=n_nonterminals)
    n_rules_A = rng.integers(1, shape.max_rules + 1, size=n_nonterminals)
    size_AR = (n_nonterminals, shape.max_rules)
    length_AR = rng.integers(1, n_places + 1, size=size_AR)
    place_ARS = rng.random((*size_AR, n_places))
    weight_AR = rng.standard_exponential(size_AR)
    weight_AR[np.arange(shape.max_rules) >= n_rules_A[:, None]] = 0.0

    below_AA = level_A > level_A[:, None]
    n_below_A11 = below_AA.sum(1)[:, None, None]
    place_ARS *= n_below_A11 + (shape.tau or shape.terminals)
    order_AA = np.argsort(~below_AA, axis=1, kind="stable")
    chosen_ARS = np.minimum(place_ARS.astype(np.int64), n_nonterminals - 1)
    lower_ARS = order_AA[np.arange(n_nonterminals)[:, None, None], chosen_ARS]
    first = n_nonterminals if shape.transparent else 0
    terminal_ARS = rng.integers(first, shape.terminals, size=chosen_ARS.shape)
    rhs_ARS = np.where(place_ARS < n_below_A11, shape.terminals + lower_ARS, terminal_ARS)
    rhs_ARS[np.arange(n_places) >= length_AR[..., None]] = -1

    head_AW = rng.standard_exponential((n_nonterminals, shape.terminals))
    if shape.transparent:
        head_AW = np.eye(n_nonterminals, shape.terminals)
    return Grammar(
        rhs_ARS=rhs_ARS,
        length_AR=length_AR,
        rule_AR=weight_AR / weight_AR.sum(1, keepdims=True),
        head_AW=head_AW / head_AW.sum(1, keepdims=True),
    )
