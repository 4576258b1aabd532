"""A result with the report that it stands in, and which of several counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mecheval.reports.schema import MetricResult, Report


class Made(NamedTuple):
    """A result, and the report that it stands in."""

    result: MetricResult
    report: Report

    def age(self) -> tuple[int, str]:
        """Return what is greater for a later one."""
        return self.result.version, self.report.finished

    @property
    def file(self) -> str | None:
        """Return the hash of the metric's file, for one that is not built in."""
        name, metrics = self.result.name, self.report.identity.metrics
        return next((each.file_sha256 for each in metrics if each.name == name), None)

    def like(self, newest: Made) -> MetricResult:
        """Return the result, null if the metric was another one than that of the newest."""
        result = self.result
        if result.version != newest.result.version:
            other = f"version {result.version}: other seeds with version {newest.result.version}"
        elif self.file != newest.file:
            other = "another file of the metric than the latest seed"
        else:
            return result
        kept = {"id", "name", "metric", "version", "family", "title", "n_expected", "headline"}
        fields = {name: getattr(result, name) for name in kept}
        return type(result)(**fields, value=None, reason=f"measured with {other}", n_scored=0)
