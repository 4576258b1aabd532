# %% [markdown]
# # Reading and setting the state of a Mamba
#
# A recurrent network is all its state: whoever holds the state after a position holds all that what
# follows can know of what came before. `model.state` reads the memory of one layer, and
# `model.continued` runs other tokens on from it. Both work for every mixer of this package, and for
# the models of transformers that come apart; here, a Mamba of transformers with fresh weights.

# %%
import torch
from transformers import MambaConfig, MambaForCausalLM

import mecheval

torch.manual_seed(0)
module = MambaForCausalLM(MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=61)).eval()
model = mecheval.wrap(module)

# %%
tokens_BT = torch.tensor([[1, 7, 5, 9, 4, 2]])
state = model.state(tokens_BT, layer=1, position=2)
print(state)
# > layer 1 after position 2: recent (1, 3, 64), state (1, 64, 16)

# %% [markdown]
# `state` is what the scan carries, 64 channels of 16; `recent` are the last inputs of the short
# convolution. Put back into the run that it comes from, it changes nothing:

# %%
with torch.no_grad():
    whole_BTC = model(tokens_BT)
    again_BTC = model.continued(tokens_BT, state)
print("largest change:", float((again_BTC[:, 3:] - whole_BTC[:, 3:]).abs().max()) < 1e-5)
# > largest change: True

# %% [markdown]
# Put into the run of another prefix, layer 1 goes on as if it had read the first one. What layer 0
# hands on still comes from the other prefix.

# %%
other_BT = torch.tensor([[1, 8, 6, 9, 4, 2]])
with torch.no_grad():
    patched_BTC = model.continued(other_BT, state)
    other_BTC = model(other_BT)
print("something changes:", not torch.allclose(patched_BTC[:, 3:], other_BTC[:, 3:]))
# > something changes: True

# %% [markdown]
# The tensors may be changed. Without what the state holds the layer starts anew behind position 2:

# %%
state["state"].zero_()
state["recent"].zero_()
with torch.no_grad():
    forgotten_BTC = model.continued(tokens_BT, state)
moved = (forgotten_BTC - whole_BTC)[0, 3:].abs().amax(-1)
print("positions that notice:", (moved > 1e-6).tolist())
# > positions that notice: [True, True, True]
