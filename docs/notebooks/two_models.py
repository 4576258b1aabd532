# %% [markdown]
# # Comparing two models
#
# Three ways to hold two networks side by side, from what they answer to how they do it. Both are
# planted here, so that the right outcome is known: two Mambas that recall values by their keys and
# differ in one thing, when a key enters the memory. The one stores it with its value, the other a
# position later.

# %%
import numpy as np

import mecheval

direct, later = "planted/mamba-recall", "planted/mamba-recall[shift=1]"
task = "ar[keys=12,values=12,pairs=6]"
reports = mecheval.evaluate(
    [direct, later], task, limit=32, metrics=["behaviour", "interchange", "write_offset"]
)

# %% [markdown]
# **What they answer.** Nothing tells them apart:

# %%
for report in reports:
    (accuracy,) = [found for found in report.metrics if found.id == "token_accuracy/1x"]
    print(accuracy.value)
# > 1.0
# > 1.0

# %% [markdown]
# **What they hold.** Of the streams at the same tokens, likeness beyond what the tokens themselves
# give (`groups_N`), beside its null: here of arrays of one's own, a rotated copy and noise.

# %%
rng = np.random.default_rng(0)
x_ND = rng.standard_normal((600, 16))
rotated_ND = x_ND @ np.linalg.qr(rng.standard_normal((16, 16)))[0]
noise_ND = rng.standard_normal((600, 16))
for name, y_ND in (("rotated", rotated_ND), ("noise", noise_ND)):
    score = mecheval.compare_representations(x_ND, y_ND)["debiased_cka"]
    print(name, round(score.value, 2))
# > rotated 1.0
# > noise 0.0

# %% [markdown]
# **How they do it.** The circuits are compared from the two reports: which components, at which
# depth and token, move the answer, and how many positions later a token is stored.

# %%
(pair,) = mecheval.similarity(
    [direct, later], task, limit=32, metrics=["interchange", "write_offset", "circuit_similarity"]
)
print("positions apart:", pair.metrics[0].scalars["positions_apart_value"])
# > positions apart: 1.0
