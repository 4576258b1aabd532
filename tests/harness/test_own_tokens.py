"""Networks that read one text in tokens of their own, from the plan to the matrix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hf_families import build
from hf_tokenizers import byte_tokenizer
from source_files import write_source

import mecheval
from mecheval.cli import main
from mecheval.errors import UsageError
from mecheval.likeness.features import compare_features
from mecheval.metrics.pairs import PairSubject, Side
from mecheval.metrics.pairs.shared import shared_places
from mecheval.reports.files import find_pairs, read_pair, read_report
from mecheval.reports.pair_matrix import matrices_of
from mecheval.reports.validate import validate_file

if TYPE_CHECKING:
    from pathlib import Path

LENGTHS = "min_length=12,max_length=12,longer=[]"
FEATURES = "feature_similarity[n=96,n_train=96,per_sequence=8,n_rows=800,width=2,k=4,depths=1]"
SCORES = "representation_similarity[n=24,per_sequence=8,depths=1]"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a text, and two checkpoints of two families with tokenizers of their own."""
    root = tmp_path_factory.mktemp("own")
    (root / "text").mkdir()
    write_source(root / "text", 24)
    files = [path.read_text() for path in sorted((root / "text").iterdir())]
    for family, known in {"gpt_neox": files[:2], "mamba": [f[5:400] for f in files[5:9]]}.items():
        tokenizer = byte_tokenizer([word for text in known for word in text.split("(")])
        module: Any = build(family, vocab_size=len(tokenizer) + 8, num_hidden_layers=2)
        for part in (module, tokenizer):
            part.save_pretrained(root / family)
    return root


def task(root: Path, more: str = "") -> str:
    return f"text[folder={root / 'text'},{LENGTHS}{more}]"


@pytest.fixture(scope="module")
def measured(root: Path) -> Path:
    """Hold both checkpoints side by side, and a model that reads the text's own vocabulary."""
    models = [f"hf:{root / 'gpt_neox'}", f"hf:{root / 'mamba'}", "gru[layers=1,width=8]"]
    mecheval.similarity(
        models, task(root, ",vocabulary=256,tokenizer=own"), recipe={"steps": 0, "gate": 0},
        limit=96, metrics=[SCORES, FEATURES, "language"], output=root / "out",
        cache=root / "cache", device="cpu",
    )  # fmt: skip
    return root / "out"


def test_one_command_holds_all_side_by_side(measured: Path, root: Path) -> None:
    pairs = [read_pair(path, verify=True) for path in find_pairs(measured / "pairs")]
    assert len(pairs) == 3
    assert len({json.dumps(pair.task.model_dump(mode="json")) for pair in pairs}) == 1
    for pair in pairs:
        met = pair.alignment
        assert met is not None
        assert 0.1 < max(met.kept_a, met.kept_b) <= 1
        titles = [side.title for side in pair.sides]
        by_title = dict(zip(titles, (met.kept_a, met.kept_b), strict=True))
        kept = [share for title, share in by_title.items() if not title.startswith("gru")]
        if len(kept) == 1:
            assert kept == [1.0]  # bytes end wherever a token does
        assert {result.name for result in pair.metrics if result.value is not None} == {
            "representation_similarity", "feature_similarity",
        }  # fmt: skip
        tokens = [{used.evaluation_sha256 for used in of} for of in
                  (pair.artefacts.a, pair.artefacts.b)]  # fmt: skip
        assert tokens[0] == tokens[1]
        assert pair.sides[0].task.sample_sha256 != pair.sides[1].task.sample_sha256
        assert pair.task.params["tokenizer"] == "own"
        assert str(root / "mamba") not in json.dumps(pair.task.params)
    for path in find_pairs(measured / "pairs"):
        failed = [str(check) for check in validate_file(path) if check.passed is False]
        assert not failed


def test_the_share_is_printed(measured: Path, capsys) -> None:
    path = find_pairs(measured / "pairs")[0]
    assert main(["show", str(path)]) == 0
    met = read_pair(path).alignment
    assert f"{met.kept_a:.3f} of those of a, {met.kept_b:.3f} of those of b" in (
        capsys.readouterr().out
    )
    matrix = matrices_of(map(read_pair, find_pairs(measured / "pairs")))[0]
    assert any("have tokens of their own, and are held side" in note for note in matrix.notes)
    assert len(matrix.models) == 3


def test_every_model_reads_in_its_own_tokens(measured: Path, root: Path) -> None:
    for path in measured.glob("*/text*/*.json"):
        report = read_report(path)
        assert report.identity.task.params["tokenizer"] == "own"
        assert report.labels.task["tokenizer"] == "own"
        assert not [str(c) for c in validate_file(path) if c.passed is False]
    for side in read_pair(find_pairs(measured / "pairs")[0]).sides:
        assert side.bits_per_byte is not None


def test_bytes_and_byte_pairs_of_one_model(root: Path, capsys) -> None:
    given = ["gru[layers=1,width=8]"], [task(root), task(root, ",vocabulary=256")]
    settings = {"recipe": {"steps": 0, "gate": 0}, "metrics": [SCORES], "limit": 24,
                "cache": root / "cache"}  # fmt: skip
    with pytest.raises(UsageError, match="There is no pair to compare"):
        mecheval.similarity(*given, **settings)
    (pair,) = mecheval.similarity(*given, across_tokens=True, output=root / "bytes", **settings)
    assert sorted(side.title[-1] for side in pair.sides) == ["]", "]"]
    assert len({side.title for side in pair.sides}) == 2
    assert 1.0 in (pair.alignment.kept_a, pair.alignment.kept_b)
    assert "vocabulary" not in pair.task.params
    argv = ["similarity", "-m", *given[0], "-t", *given[1], "--recipe", "steps=0,gate=0", "--limit",
            "24", "--metrics", SCORES, "-o", str(root / "bytes")]  # fmt: skip
    assert main([*argv, "--across-tokens", "--dry-run", "--json"]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["key"], row["state"]) == (pair.key, "cached")
    (path,) = find_pairs(root / "bytes" / "pairs")
    assert not [str(check) for check in validate_file(path) if check.passed is False]
    (matrix, *_) = matrices_of([pair])
    assert len(matrix.models) == 2
    with pytest.raises(UsageError, match="there are no two such tasks"):
        mecheval.similarity(["gru", "lstm"], "parity", across_tokens=True)


def test_what_cannot_be_held_side_by_side_is_refused(root: Path) -> None:
    models = [f"hf:{root / 'gpt_neox'}", "gru[layers=1,width=8]"]
    own = task(root, ",tokenizer=own")
    with pytest.raises(UsageError, match="losses per token are not of one kind"):
        mecheval.similarity(models, own, at_loss=2.0, recipe={"steps": 4}, cache=root / "cache")
    text, parity = mecheval.load_task(task(root)), mecheval.load_task("parity")
    with pytest.raises(UsageError, match="Only a text can be read in other tokens"):
        shared_places(text, parity, 8, 4)


def test_the_same_tokens_are_the_case_in_which_all_positions_count(root: Path) -> None:
    from mecheval.metrics.pairs.places import draw_places

    text = mecheval.load_task(task(root))
    shared = shared_places(text, mecheval.load_task(task(root)), 8, 4)
    assert not shared.aligned
    assert shared.a.sha256 == shared.b.sha256 == draw_places(text, 8, 4).sha256
    np.testing.assert_array_equal(shared.group_N, shared.a.symbol_N)


def test_places_are_of_the_same_text_and_drawn_the_same_every_time(root: Path) -> None:
    one, other = (mecheval.load_task(task(root, more)) for more in (",vocabulary=300", ""))
    shared, again = (shared_places(one, other, 8, 4) for _ in range(2))
    assert shared.aligned
    assert shared.a.sha256 == again.a.sha256 != shared.b.sha256
    assert shared.a.evaluation_sha256 == shared.b.evaluation_sha256
    assert (np.bincount(shared.row_N) <= 4).all()
    assert shared.a.symbols_BT.shape == shared.b.symbols_BT.shape == (8, 13)
    turned = shared_places(other, one, 8, 4)
    assert turned.a.sha256 == shared.b.sha256
    assert turned.a.evaluation_sha256 == shared.a.evaluation_sha256
    pairs = {(a, b) for a, b in zip(shared.a.symbol_N, shared.b.symbol_N, strict=True)}
    assert len(pairs) == shared.group_N.max() + 1
    subject = PairSubject(Side("", 0, True, ()), Side("", 1, True, ()), 0, one, None, other)
    train = subject.training_places(8, 4)
    assert train is not None
    assert len(train[0].row_N) == len(train[1].row_N) == 32


def test_given_the_token_is_given_both_tokens() -> None:
    """Two networks that hold nothing but which two tokens end here are alike in nothing beyond.

    Neither token tells the other: with every network's own alone, what both tell of the two
    together would be left and be called alike.
    """
    rng = np.random.default_rng(0)
    a_N, b_N = rng.integers(3, size=(2, 1200))
    pair_N = 3 * a_N + b_N
    known_GD = rng.normal(size=(9, 4))
    x_ND, y_ND = (known_GD[pair_N] + 0.05 * rng.normal(size=(1200, 4)) for _ in range(2))

    def own(x_ND: np.ndarray, group_N: np.ndarray) -> np.ndarray:
        means_GD = np.stack([x_ND[group_N == g].mean(0) for g in range(group_N.max() + 1)])
        return x_ND - means_GD[group_N]

    documents_N = np.arange(1200) // 8
    each = mecheval.compare_representations(
        own(x_ND, a_N), own(y_ND, b_N), documents_N=documents_N, n_permutations=0
    )["debiased_cka"]
    both = mecheval.compare_representations(
        x_ND, y_ND, pair_N, documents_N, n_permutations=0
    )["debiased_cka_without_means"]  # fmt: skip
    assert each.interval.low > 0.2
    assert abs(both.value) < 0.05
    codes = [np.clip(of_ND, 0, None) for of_ND in (x_ND, y_ND)]
    found = compare_features(*codes, pair_N, documents_N, n_blocks=2)
    assert found.a_to_b.held_out > 0.9
    assert abs(found.beyond_a_to_b.held_out) < 0.2
