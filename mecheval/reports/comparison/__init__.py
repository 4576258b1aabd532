"""Two sets of reports, number by number: paired differences, and what else differs."""

from mecheval.reports.comparison.compare import Comparison as Comparison
from mecheval.reports.comparison.compare import compare as compare
from mecheval.reports.comparison.values import Difference as Difference
from mecheval.reports.comparison.values import Side as Side
