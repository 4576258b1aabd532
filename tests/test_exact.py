"""Functions of doubles that are the same everywhere: right, and made of nothing that may differ."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from mecheval import exact

RNG = np.random.default_rng(0)
WIDE = np.exp(RNG.uniform(-700, 700, 20000))
NEAR_0 = RNG.normal(size=10000) * 10.0 ** -RNG.uniform(0, 12, 10000)
NEAR_1 = 1 + NEAR_0[NEAR_0 > -0.9]


def units(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest error in units in the last place."""
    return float(np.max(np.abs(found - wanted) / np.spacing(np.abs(wanted))))


@pytest.mark.parametrize(
    ("name", "x_X", "most"),
    [
        ("log", np.concatenate([WIDE, NEAR_1[NEAR_1 != 1]]), 3),
        ("log1p", np.concatenate([WIDE, NEAR_1 - 1]), 3),
        ("exp", np.concatenate([np.log(WIDE), NEAR_0]), 1),
        ("expm1", np.concatenate([np.log(WIDE), NEAR_0]), 2),
    ],
)
def test_functions_are_those_of_numpy(name: str, x_X: np.ndarray, most: int) -> None:
    """NumPy's own are right to one unit or two."""
    assert units(getattr(exact, name)(x_X), getattr(np, name)(x_X)) <= most + 1


def test_ends() -> None:
    inf, nan = np.inf, np.nan
    np.testing.assert_array_equal(exact.log([0, 1, -1, inf, nan]), [-inf, 0, nan, inf, nan])
    np.testing.assert_array_equal(exact.log1p([-1, 0, -2, inf]), [-inf, 0, nan, inf])
    np.testing.assert_array_equal(
        exact.exp([-inf, 0, inf, nan, -760, 760]), [0, 1, inf, nan, 0, inf]
    )
    np.testing.assert_array_equal(exact.expm1([-inf, 0, inf, nan]), [-1, 0, inf, nan])
    np.testing.assert_array_equal(exact.erfinv([-1, 0, 1, 1.5, nan]), [-inf, 0, inf, nan, nan])
    np.testing.assert_array_equal(exact.normal_quantile([0, 0.5, 1, 2]), [-inf, 0, inf, nan])
    np.testing.assert_array_equal(
        exact.power([0, 0, 1, 4, -1], [0, 2, 9, 0.5, 2]), [1, 0, 1, 2, nan]
    )
    assert exact.log(5e-324) == np.log(5e-324)


def test_quantile_is_that_of_the_standard_library() -> None:
    """Which implements the same formula."""
    p_X = np.concatenate([RNG.uniform(0, 1, 20000), 10.0 ** -RNG.uniform(0, 300, 2000)])
    wanted_X = np.array(list(map(statistics.NormalDist().inv_cdf, p_X)))
    np.testing.assert_allclose(exact.normal_quantile(p_X), wanted_X, rtol=1e-14)
    x_X = np.concatenate([RNG.uniform(-1, 1, 1000), NEAR_0[np.abs(NEAR_0) < 1]])
    np.testing.assert_allclose(exact.erfinv(x_X), special.erfinv(x_X), rtol=1e-14)


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (64, 64), (9, 4)])
def test_decomposition(shape: tuple[int, int]) -> None:
    matrix_NM = RNG.normal(size=shape)
    q_NM, r_MM = exact.qr(matrix_NM)
    np.testing.assert_allclose(q_NM.T @ q_NM, np.eye(shape[1]), atol=1e-13)
    np.testing.assert_allclose(q_NM @ r_MM, matrix_NM, atol=1e-13)
    assert (np.diag(r_MM) > 0).all()
    assert not np.tril(r_MM, -1).any()


def test_sums_and_products() -> None:
    left_NM, right_MD = RNG.normal(size=(4, 7)), RNG.normal(size=(7, 3))
    np.testing.assert_allclose(exact.product(left_NM, right_MD), left_NM @ right_MD)
    for n in (0, 1, 2, 7, 8):
        np.testing.assert_allclose(exact.total(left_NM.T[:n]), left_NM.T[:n].sum(0))


RIGHT = {
    "abs", "append", "arange", "array", "asarray", "ascontiguousarray", "astype",
    "broadcast_arrays", "clip", "concatenate", "copy", "diag", "errstate", "eye", "factorial",
    "flatnonzero", "frexp", "fromhex", "isfinite", "isinf", "ldexp", "reshape", "rint", "select",
    "sqrt", "triu", "where", "zeros",
}  # fmt: skip
"""What may be called beside functions of the file: all of it is right to the last bit."""


def test_no_library_rounds_or_sums() -> None:
    tree = ast.parse(Path(exact.__file__).read_text(encoding="utf-8"))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert {call.attr for call in calls if isinstance(call, ast.Attribute)} <= RIGHT
    operators = {type(node.op) for node in ast.walk(tree) if isinstance(node, ast.BinOp)}
    assert not operators & {ast.Pow, ast.MatMult}
