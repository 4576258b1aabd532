# %% [markdown]
# # A metric of one's own
#
# A metric is a class whose fields are its parameters. It gets a `Subject`: the model, examples of
# the task, streams of random numbers. It returns results with intervals. `mecheval new metric NAME`
# writes one to start from, with a test of its contract; this is a shorter one.

# %%
from dataclasses import dataclass

import numpy as np

import mecheval
from mecheval import stats
from mecheval.interventions import answer_logits
from mecheval.metrics import Column, Estimate, Layout, Metric, Subject, metric
from mecheval.metrics.parameters import Count

# %% [markdown]
# How sure is a model of its last answer? The mean probability of the likeliest one.


# %%
@metric(name="sureness", version=1, family="behaviour", headline=(Column("sureness"),))
@dataclass(frozen=True, kw_only=True)
class Sureness(Metric):
    """Mean probability of the likeliest answer at the last position.

    Attributes:
        n: Test sequences.
    """

    n: Count = 200

    def outline(self, subject: Subject) -> list[Layout]:
        """Say what will come: one number between 0 and 1, of n sequences."""
        return [Layout("", "sequences", subject.cut(self.n), (0.0, 1.0), True)]

    def measure(self, subject: Subject):
        """Ask the model."""
        (layout,) = self.outline(subject)
        batch = subject.test(subject.length, self.n)
        logits_BTA = answer_logits(
            subject.model, batch.tokens_BT, subject.answers_A, batch_size=subject.batch_size
        )
        logits_BA = logits_BTA[:, -1] - logits_BTA[:, -1].max(-1, keepdims=True)
        sure_B = (np.exp(logits_BA) / np.exp(logits_BA).sum(-1, keepdims=True)).max(-1)
        rng = subject.stream("bootstrap", self.id)
        interval = stats.proportion_interval(sure_B, rng, unit="sequence")
        return [self.result(layout, Estimate(float(sure_B.mean()), interval), len(sure_B))]


# %% [markdown]
# It is given to `evaluate` as it is. In a file, `mecheval run -I FILE --metrics sureness` finds it;
# in an installed package, an entry point does.

# %%
(report,) = mecheval.evaluate(
    "lstm[layers=1,width=16]", "parity", recipe={"steps": 30}, metrics=[Sureness()], limit=64
)
(found,) = [result for result in report.metrics if result.name == "sureness"]
print(report.status, found.id, found.n_scored)
print(
    "above a guess of 1/2:",
    found.value > 0.5,
    "| inside its interval:",
    found.uncertainty.low <= found.value <= found.uncertainty.high,
)
# > success sureness 64
# > above a guess of 1/2: True | inside its interval: True

# %% [markdown]
# An untrained network, and other seeds, are the first things to hold such a number against; where
# the task was not learned a mechanistic metric says null, with the reason (`Estimate(None,
# reason=...)`), and its test measures a planted network whose value is known:
# [planted models](../models/planted.md).
