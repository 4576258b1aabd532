"""TransformerLens: `get_act_patch_resid_pre` on a TransformerBridge.

Shape suffixes: ``P`` pairs, ``T`` positions, ``D`` residual width, ``C`` vocabulary.
"""

from __future__ import annotations

import io
import tempfile
from contextlib import redirect_stderr
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.peers.contract import LAST_LOGITS, Idiom

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.peers.contract import Job

NAME = "transformer-lens"


def idioms(job: Job) -> list[Idiom]:
    """Return the documented grid, and the same patch with fewer logits."""
    from pandas import DataFrame
    from transformer_lens import patching

    bridge = _bridge(job)
    cache: dict[str, Any] = {}

    def prepare() -> None:
        with torch.inference_mode():
            _, cache["clean"] = bridge.run_with_cache(
                job.pairs.clean_PT, names_filter=lambda name: name.endswith("hook_resid_pre")
            )

    def documented(layer: int, position: int) -> Tensor:
        # The grid's own call with a list of cells: without one it runs all of them.
        cells = DataFrame([(layer, position)], columns=["layer", "pos"])
        with torch.inference_mode(), redirect_stderr(io.StringIO()):  # its progress bar
            found = patching.get_act_patch_resid_pre(
                bridge, job.pairs.corrupted_PT, cache["clean"], job.read,
                index_axis_names=None, index_df=cells, reduce="none",
            )  # fmt: skip
        return found.values[0]

    def tuned(layer: int, position: int) -> Tensor:
        def replace(stream_PTD: Tensor, hook: Any) -> Tensor:
            stream_PTD[:, position] = cache["clean"]["resid_pre", layer][:, position]
            return stream_PTD

        hooks = [(f"blocks.{layer}.hook_resid_pre", replace)]
        with torch.inference_mode():
            return job.read(
                bridge.run_with_hooks(job.pairs.corrupted_PT, fwd_hooks=hooks, **LAST_LOGITS)
            )

    return [
        Idiom(NAME, version(NAME), "`get_act_patch_resid_pre`", prepare, documented),
        Idiom(
            NAME, version(NAME), "`run_with_hooks`, `logits_to_keep=1`", prepare, tuned, tuned=True
        ),
    ]


def _bridge(job: Job) -> Any:
    """Wrap the model; even for one in memory, a bridge reads a tokenizer from disk."""
    from tokenizers import Tokenizer, models
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    end = "<|endoftext|>"
    words = Tokenizer(models.WordLevel({end: 0}, unk_token=end))
    with tempfile.TemporaryDirectory() as folder:
        PreTrainedTokenizerFast(
            tokenizer_object=words, bos_token=end, eos_token=end, pad_token=end, unk_token=end
        ).save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        bridge = TransformerBridge.boot_transformers(
            job.shape.hub, hf_model=job.build(), tokenizer=tokenizer, device=job.device
        )
    return bridge.eval()
