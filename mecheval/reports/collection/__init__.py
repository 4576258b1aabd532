"""A folder of reports as one thing: grouped, summarised over seeds, as tables and data frames.

Whatever groups reports or averages seeds does it here: the table of a run, leaderboards,
comparisons, claims, figures.
"""

from mecheval.reports.collection.collected import Collection as Collection
from mecheval.reports.collection.collected import collect as collect
from mecheval.reports.collection.collected import load_results as load_results
from mecheval.reports.collection.columns import Column as Column
from mecheval.reports.collection.groups import Group as Group
from mecheval.reports.collection.loading import Refused as Refused
from mecheval.reports.collection.numbers import OverSeeds as OverSeeds
