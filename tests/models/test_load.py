"""Names become sources, and sources become models, by the way that real checkpoints go."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hf_families import build

from mecheval.errors import UsageError
from mecheval.models.checks import check_model
from mecheval.models.load import resolve
from mecheval.spec import Spec, parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mecheval.registry import Registry
    from mecheval.tasks import Task

TOKENS_BT = torch.randint(4, 30, (2, 8), generator=torch.Generator().manual_seed(0))


def directory(path: Path, **args: Any) -> Spec:
    return Spec(f"hf:{path}", args)


def test_a_checkpoint_on_disk_is_the_library_s_own_model(
    checkpoint: Path, registry: Registry, dyck: Task
) -> None:
    from transformers import AutoModelForCausalLM

    source = resolve(directory(checkpoint), registry)
    identity, encoding = source.identity(), source.encode(dyck)
    assert (identity.source, identity.revision) == ("pretrained", None)
    assert (identity.name, source.address) == ("hf:checkpoint", f"hf:{checkpoint}")
    assert identity.args == {
        "weights": "pretrained", "symbols": "text", "adapter": "none", "attention": "own",
    }  # fmt: skip
    assert source.card.architecture == "gpt_neox"
    assert source.recipe.lr == 5e-5
    assert encoding.added == ()
    assert len(set(encoding.code_C)) == len(dyck.symbols)

    model = source.build(encoding, seed=0)
    assert not model.training
    own = AutoModelForCausalLM.from_pretrained(checkpoint)
    with torch.no_grad():
        assert torch.equal(model(TOKENS_BT), own(TOKENS_BT).logits)
    assert all(check.passed is not False for check in check_model(model))


def test_shards_and_half_precision_come_out_whole(
    make_checkpoint: Callable[..., Path], registry: Registry, dyck: Task
) -> None:
    folder = make_checkpoint("llama", shard_size="20KB", half=True)
    source = resolve(directory(folder), registry)
    model = source.build(source.encode(dyck), seed=0)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    weight = model.state_dict()["module.model.layers.1.mlp.up_proj.weight"]
    expected: Any = build("llama").state_dict()["model.layers.1.mlp.up_proj.weight"]
    assert torch.equal(weight, expected.half().float())


@pytest.mark.parametrize(
    ("written", "folder"),
    [
        ("hf:{}", "plain"),
        ("hf:{}", "v1@final"),
        ('hf:"{}"', "with a space"),
        ("hf:{}", "a@b@c"),
        ("hf:'{}'", "a[1]"),
        ("hf:'{}'", "a@b[c=1] d"),
        ('hf:"{}"', "it's"),
        ("hf:'{}'", "$\\frac{$"),
    ],
)
def test_odd_names_of_directories(
    make_checkpoint: Callable[..., Path], registry: Registry, written: str, folder: str
) -> None:
    path = make_checkpoint(folder=folder)
    source = resolve(parse_spec(written.format(path)), registry)
    identity = source.identity()
    assert (identity.name, source.address) == (f"hf:{folder}", f"hf:{path}")
    again = resolve(Spec(source.address, {}, identity.commit), registry).identity()
    assert again == identity
    assert resolve(parse_spec(str(Spec(source.address))), registry).identity() == identity


def test_a_directory_has_no_revisions(checkpoint: Path, registry: Registry) -> None:
    source = resolve(Spec(f"hf:{checkpoint}", {}, "main"), registry)
    with pytest.raises(UsageError, match=r"is not at revision 'main'.*leave out the part after @"):
        source.identity()


@pytest.mark.parametrize(
    "name",
    ["hf:./nowhere", "hf:/no/where", "hf:a/b/c", "hf:/" + "a" * 300, "hf:~nobody_of_the_name"],
)
def test_a_directory_that_is_not_there(registry: Registry, name: str) -> None:
    with pytest.raises(UsageError, match="There is no directory"):
        resolve(Spec(name), registry)


def test_random_weights_need_no_files(registry: Registry, dyck: Task) -> None:
    source = resolve(parse_spec("pythia-70m[weights=random]"), registry)
    identity = source.identity()
    assert (identity.source, identity.weights_sha256, identity.commit) == ("random", None, None)
    assert source.encode(dyck).code_C.tolist() == [0, 1, 2, 3, 4, 5]
    assert source.size == "random"


def test_random_weights_follow_the_seed_alone(
    checkpoint: Path, registry: Registry, dyck: Task
) -> None:
    source = resolve(directory(checkpoint, weights="random"), registry)
    assert source.identity().source == "random"
    encoding, state = source.encode(dyck), torch.random.get_rng_state()
    models = [source.build(encoding, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), state)
    first, same, other = (torch.cat([p.flatten() for p in m.parameters()]) for m in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_untrained_control_has_the_shape_and_none_of_the_weights(
    checkpoint: Path, registry: Registry, dyck: Task
) -> None:
    source = resolve(directory(checkpoint, symbols="added"), registry)
    encoding = source.encode(dyck)
    loaded, control = source.build(encoding, seed=0), source.untrained(encoding, seed=0)
    again = source.untrained(encoding, seed=0)
    weights = [dict(model.named_parameters()) for model in (loaded, control, again)]
    assert {k: v.shape for k, v in weights[0].items()} == {
        k: v.shape for k, v in weights[1].items()
    }
    name = "module.gpt_neox.layers.0.mlp.dense_h_to_4h.weight"
    assert not torch.equal(weights[0][name], weights[1][name])
    assert torch.equal(weights[1][name], weights[2][name])


def test_added_tokens_are_new_rows_that_follow_the_seed(
    make_checkpoint: Callable[..., Path], registry: Registry, dyck: Task
) -> None:
    folder = make_checkpoint("phi", tokenizer=None)  # has a bias in its head
    source: Any = resolve(directory(folder, symbols="added"), registry)
    encoding = source.encode(dyck)
    assert encoding.code_C.tolist() == [61, 62, 63, 64, 65, 66]
    state = torch.random.get_rng_state()
    weights = [source.build(encoding, seed=seed).module.state_dict() for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), state)
    rows = [w["model.embed_tokens.weight"] for w in weights]
    old: Any = build("phi").state_dict()
    assert torch.equal(rows[0][:61], old["model.embed_tokens.weight"])
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0][61:], rows[2][61:])
    assert 0.5 < float(rows[0][61:].std() / rows[0][:61].std()) < 2.0
    assert torch.equal(weights[0]["lm_head.weight"][:61], old["lm_head.weight"])
    assert weights[0]["lm_head.bias"].shape == (67,)
    model = source.build(encoding, seed=0)
    assert model.vocab_size == 67
    assert all(check.passed is not False for check in check_model(model))


def test_added_tokens_keep_embedding_and_head_tied(
    make_checkpoint: Callable[..., Path], registry: Registry, dyck: Task
) -> None:
    source: Any = resolve(directory(make_checkpoint("gpt2"), symbols="added"), registry)
    encoding = source.encode(dyck)
    assert encoding.code_C.tolist() == [1, 61, 62, 63, 64, 65]  # BOS is the tokenizer's
    module = source.build(encoding, seed=0).module
    assert module.lm_head.weight is module.transformer.wte.weight


def _config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_config(model_type="gpt_neoxx"), "unknown type 'gpt_neoxx'.* Did you mean 'gpt_neox'"),
        (_config(model_type="vit"), "type 'vit' is not a causal language model"),
        (
            _config(model_type="mine", auto_map={"AutoConfig": "mine.Mine"}),
            "own Python code, which is not run .* --trust-remote-code",
        ),
        (_config(num_hidden_layers=3), r"no weights for gpt_neox\.layers\.2\..* and \d+ more"),
        (_config(num_hidden_layers=1), r"more layers than its config.json .* gpt_neox\.layers\.1"),
        (_config(intermediate_size=64), r"another shape than .* gpt_neox\.layers\.0\.mlp"),
        (_config(num_attention_heads=5), "configuration of .* cannot be read"),
        (
            lambda folder: (folder / "tokenizer.json").write_text("{"),
            "tokenizer of .* cannot be loaded",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    checkpoint: Path,
    registry: Registry,
    dyck: Task,
    damage: Callable[[Path], Any],
    sentence: str,
) -> None:
    damage(checkpoint)
    source = resolve(directory(checkpoint), registry)
    with pytest.raises(UsageError, match=sentence):
        source.build(source.encode(dyck), seed=0)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"weight": "random"}, "Unknown argument 'weight' of pythia-70m. Did you mean 'weights'"),
        (
            {"weights": "none"},
            r"weights='none' .* not one of pretrained, random.*\[weights=random\]",
        ),
        ({"size": "tiny"}, "Unknown argument 'size' of pythia-70m"),
    ],
)
def test_wrong_arguments(registry: Registry, args: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        resolve(Spec("pythia-70m", args), registry)


def test_own_architectures_have_arguments_and_no_revision(registry: Registry) -> None:
    source = resolve(parse_spec("gru[layers=1]"), registry)
    assert source.identity().args["layers"] == 1
    with pytest.raises(UsageError, match="trained from scratch and has no revision 'main'"):
        resolve(Spec("gru", {}, "main"), registry)


def test_a_registered_checkpoint_that_cannot_be_reached_names_ways_on(registry: Registry) -> None:
    source = resolve(parse_spec("pythia-70m@step1000"), registry)
    with pytest.raises(UsageError, match="at revision 'step1000' is not in the local cache") as e:
        source.identity()
    assert "pythia-70m[weights=random]" in str(e.value)
    assert "hf:DIRECTORY" in str(e.value)


def test_a_registered_checkpoint_is_downloaded(
    hub: Any, checkpoint: Path, registry: Registry, dyck: Task
) -> None:
    from fake_hub import commit_of

    hub({"EleutherAI/pythia-70m": {"main": checkpoint}})
    source = resolve(Spec("pythia-70m"), registry)
    identity = source.identity()
    assert (identity.revision, identity.commit) == ("main", commit_of(checkpoint))
    model = source.build(source.encode(dyck), seed=0)
    assert model.d_model == 32


def test_names_are_resolved_without_the_hub_s_libraries() -> None:
    code = (
        "import sys; from mecheval.models.load import resolve; from mecheval.registry import "
        "Registry; from mecheval.spec import Spec; resolve(Spec('pythia-70m'), Registry()); "
        "print([m for m in ('transformers', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
