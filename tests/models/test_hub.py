"""Checkpoints are found on disk, on the hub and in its cache, or one sentence says why not."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from fake_hub import Fault, commit_of

from mecheval.errors import UsageError
from mecheval.models.hub.contents import Wanted
from mecheval.models.hub.locate import locate_directory
from mecheval.models.hub.repository import locate_repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAYS_ON = "Use something else."


def sha256(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def copied(checkpoint: Path, to: Path) -> Path:
    return shutil.copytree(checkpoint, to)


def pickled(checkpoint: Path, to: Path) -> Path:
    """Copy a checkpoint as it was stored before safetensors."""
    folder = copied(checkpoint, to)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return folder


def test_a_directory_is_known_by_its_contents(checkpoint: Path, tmp_path: Path) -> None:
    found = locate_directory(checkpoint)
    assert found.files == ("model.safetensors",)
    assert found.weights_sha256 == sha256(checkpoint / "model.safetensors")
    assert found.revision is None
    assert found.has_tokenizer
    twin = locate_directory(copied(checkpoint, tmp_path / "twin"))
    assert (twin.commit, twin.weights_sha256) == (found.commit, found.weights_sha256)
    assert locate_directory(checkpoint, expected=found.commit).commit == found.commit

    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"rotary_pct": 0.5}))
    changed = locate_directory(checkpoint)
    assert changed.commit != found.commit
    assert changed.weights_sha256 == found.weights_sha256
    with pytest.raises(UsageError, match="is not at revision 'sha256:"):
        locate_directory(checkpoint, expected=found.commit)


def test_all_shards_count(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint(shard_size="20KB")
    found = locate_directory(folder)
    assert len(found.files) > 2
    assert found.weights_sha256 == sha256(*sorted(folder.glob("*.safetensors")))
    (folder / found.files[1]).unlink()
    with pytest.raises(UsageError, match=f"lacks {found.files[1]}, which its index lists"):
        locate_directory(folder)


def _truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def _garble(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"<html>not found</html>")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, "There is no directory"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is damaged"),
        (lambda folder: (folder / "config.json").write_text("[]"), "holds no JSON object"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
        (_truncate, "model.safetensors are truncated or damaged"),
        (_garble, "model.safetensors are truncated or damaged"),
    ],
)
def test_a_damaged_directory_is_named(
    checkpoint: Path, damage: Callable[[Path], Any], sentence: str
) -> None:
    damage(checkpoint)
    with pytest.raises(UsageError, match=sentence) as caught:
        locate_directory(checkpoint)
    assert str(checkpoint) in str(caught.value)
    assert caught.value.exit_code == 2


def test_pickled_weights_are_never_read(checkpoint: Path, tmp_path: Path) -> None:
    folder = pickled(checkpoint, tmp_path / "old")
    with pytest.raises(UsageError, match=r"only pytorch_model.bin; pickled weights are never read"):
        locate_directory(folder)
    assert locate_directory(folder, wanted=Wanted(weights=False)).files == ()


def test_a_repository_is_downloaded_once_and_then_cached(
    hub: Any, checkpoint: Path, tmp_path: Path
) -> None:
    (checkpoint / "pytorch_model.bin").write_bytes(b"never wanted")
    hub({"org/tiny": {"main": checkpoint}})
    found = locate_repository("org/tiny", ["main"], ways_on=WAYS_ON)
    assert (found.revision, found.commit) == ("main", commit_of(checkpoint))
    assert found.weights_sha256 == sha256(checkpoint / "model.safetensors")
    assert found.path.is_relative_to(tmp_path / "hub")
    assert {file.name for file in found.path.iterdir()} >= {"config.json", "tokenizer.json"}
    assert not (found.path / "pytorch_model.bin").exists()

    hub.cut_off()
    for revision in ("main", found.commit):
        again = locate_repository("org/tiny", [revision], ways_on=WAYS_ON)
        assert (again.path, again.commit) == (found.path, found.commit)
    with pytest.raises(UsageError, match="at revision 'v2' is not in the local cache"):
        locate_repository("org/tiny", ["v2"], ways_on=WAYS_ON)


def test_the_same_weights_under_another_revision_are_taken(
    hub: Any, checkpoint: Path, tmp_path: Path
) -> None:
    """Branches of single steps were often uploaded before safetensors."""
    old = pickled(checkpoint, tmp_path / "old")
    hub({"org/tiny": {"main": checkpoint, "step9": old}})
    with pytest.raises(UsageError, match=r"tiny at revision step9 .* only pytorch_model.bin"):
        locate_repository("org/tiny", ["step9"], ways_on=WAYS_ON)
    found = locate_repository("org/tiny", ["step9", "main"], ways_on=WAYS_ON)
    assert (found.revision, found.commit) == ("main", commit_of(checkpoint))
    hub.cut_off()
    assert locate_repository("org/tiny", ["step9", "main"], ways_on=WAYS_ON).revision == "main"


def test_what_the_hub_does_not_have(hub: Any, checkpoint: Path) -> None:
    hub({"org/tiny": {"main": checkpoint}})
    with pytest.raises(UsageError, match="'org/tiny' has no revision 'step7'"):
        locate_repository("org/tiny", ["step7"], ways_on=WAYS_ON)
    with pytest.raises(UsageError, match="no public repository of that name"):
        locate_repository("org/tinny", ["main"], ways_on=WAYS_ON)


def test_a_download_without_its_weights(hub: Any, checkpoint: Path) -> None:
    hub({"org/tiny": {"main": checkpoint}})
    found = locate_repository("org/tiny", ["main"], ways_on=WAYS_ON, wanted=Wanted(weights=False))
    assert not (found.path / "model.safetensors").exists()
    assert found.config["model_type"] == "gpt_neox"


def test_without_network_and_cache_the_answer_comes_at_once(
    monkeypatch: pytest.MonkeyPatch, hub: Any
) -> None:
    from huggingface_hub import constants

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    began = time.monotonic()
    with pytest.raises(UsageError, match="cannot be reached") as caught:
        locate_repository("org/tiny", ["v1", "main"], ways_on=WAYS_ON)
    assert time.monotonic() - began < 10
    assert str(caught.value).endswith(WAYS_ON)
    assert "'org/tiny' at revision 'v1'" in str(caught.value)


def test_offline_mode_is_named() -> None:
    with pytest.raises(UsageError, match=r"cannot be reached \(HF_HUB_OFFLINE is set\)"):
        locate_repository("org/tiny", ["main"], ways_on=WAYS_ON)


INVALID = "Invalid credentials in Authorization header"
DISABLED = "Access to this resource is disabled."


@pytest.mark.parametrize(
    ("fault", "sentences"),
    [
        (Fault(401, "GatedRepo"), ("is gated", "Accept them at https://huggingface.co/org/tiny")),
        (Fault(403, "GatedRepo", files=True), ("is gated", "then set HF_TOKEN")),
        (Fault(404, "RepoNotFound"), ("no public repository of that name", "set HF_TOKEN")),
        (Fault(403, message=DISABLED), ("has disabled it",)),
        (Fault(401, message=INVALID), ("does not accept the token", "Set HF_TOKEN to one that")),
        (Fault(403), ("forbids it to your token",)),
        (Fault(429), ("wants fewer requests (429)", "Wait a few minutes")),
        (Fault(503), ("has a fault (it answers 503)", "Try again later")),
    ],
)
def test_what_keeps_a_repository_away_is_told_apart(
    hub: Any, checkpoint: Path, fault: Fault, sentences: tuple[str, ...]
) -> None:
    hub({"org/tiny": {"main": checkpoint}}, {"org/tiny": fault})
    with pytest.raises(UsageError) as caught:
        locate_repository("org/tiny", ["main"], ways_on=WAYS_ON)
    for sentence in sentences:
        assert sentence in str(caught.value)
    assert "broke off" not in str(caught.value)


def test_what_is_cached_serves_when_the_hub_keeps_it_away(hub: Any, checkpoint: Path) -> None:
    repositories = {"org/tiny": {"main": checkpoint}}
    hub(repositories)
    found = locate_repository("org/tiny", ["main"], ways_on=WAYS_ON)
    for fault in (Fault(401, "GatedRepo"), Fault(503), Fault(401, message=INVALID)):
        hub(repositories, {"org/tiny": fault})
        again = locate_repository("org/tiny", ["main"], ways_on=WAYS_ON)
        assert (again.commit, again.weights_sha256) == (found.commit, found.weights_sha256)


def test_a_download_that_breaks_off_is_told_from_the_rest(
    hub: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    hub({"org/tiny": {"main": checkpoint}})
    for error, sentence in (
        (ConnectionResetError("peer"), "broke off .* Run the same command again"),
        (OSError(28, "No space left on device"), "no room left .* HF_HOME at another disk"),
        (PermissionError(13, "Permission denied"), "cannot be written .* HF_HOME"),
    ):

        def fails(*args: Any, error: Exception = error, **kwargs: Any) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
        with pytest.raises(UsageError, match=sentence):
            locate_repository("org/tiny", ["main"], ways_on=WAYS_ON)


def test_shards_of_any_name_are_downloaded_and_no_others(
    hub: Any, make_checkpoint: Callable[..., Path]
) -> None:
    folder = make_checkpoint(shard_size="20KB")
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-0", "part-0"))
    for file in folder.glob("model-*.safetensors"):
        file.rename(folder / file.name.replace("model-0", "part-0"))
    (folder / "consolidated.safetensors").write_bytes(b"never wanted")
    hub({"org/tiny": {"main": folder}})
    found = locate_repository("org/tiny", ["main"], ways_on=WAYS_ON)
    assert len(found.files) > 2
    assert not (found.path / "consolidated.safetensors").exists()
