# %% [markdown]
# # A first grid on a checkpoint
#
# Two prompts differ in one token and in what comes next. Which activation of the one, put into the
# run of the other, brings its answer back? One call asks that of every layer, component and
# position. Any causal model of transformers is taken; here it is a small one with fresh weights,
# saved in the hub's format, because this page is run without a network. With a network, write
# `mecheval.load_model("pythia-160m")`, or `"hf:DIRECTORY"` for a checkpoint of your own.

# %%
import tempfile

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import mecheval

torch.manual_seed(0)
folder = tempfile.mkdtemp()
config = GPTNeoXConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64
)
GPTNeoXForCausalLM(config).save_pretrained(folder)

# %%
model = mecheval.load_model(f"hf:{folder}")
print(model.n_layers, "layers of width", model.d_model)
# > 3 layers of width 32

# %% [markdown]
# The arrays: clean and corrupted tokens, two pairs of six tokens; the answer of the clean run and
# that of the corrupted one (the foil); and the position whose logits are read.

# %%
clean_BT = torch.tensor([[5, 9, 3, 7, 2, 8], [6, 9, 4, 7, 1, 8]])
corrupted_BT = clean_BT.clone()
corrupted_BT[:, 1] = torch.tensor([11, 12])
answers_B, foils_B, readout_B = [20, 21], [30, 31], [5, 5]

grid = mecheval.recovery_grid(
    model, clean_BT, corrupted_BT, answers_B, foils_B, readout_B, engine="fastest"
)
print(grid.patched.shape, "components x layers x positions x pairs")
print(grid.execution.engine)
# > (1, 3, 6, 2) components x layers x positions x pairs
# > tails

# %% [markdown]
# `patched` is logit(answer) - logit(foil) of every patched run. Recovery is where it lies between
# the corrupted run (0) and the clean one (1). The stream before layer 0 is the embedding: put in at
# the changed token it is the clean run, put in elsewhere it changes nothing.

# %%
gap = grid.clean - grid.corrupted
recovery = (grid.component("block_in") - grid.corrupted) / gap  # layer, position, pair
print("at the changed token:", recovery[0, 1].round(3).tolist())
print("behind it:", abs(recovery[0, 2:]).max().round(3))
# > at the changed token: [1.0, 1.0]
# > behind it: 0.0

# %% [markdown]
# The engine makes no full forward pass for that, and is held against plain hooks on cells of this
# very grid before it is taken; the largest difference stands beside it. By default
# (`engine="auto"`) a grid as small as this one takes plain hooks, because a check would cost more.

# %%
print("differs from plain hooks by less than 1e-5:", grid.execution.difference < 1e-5)
# > differs from plain hooks by less than 1e-5: True
