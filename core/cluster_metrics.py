"""How far a run is, as metrics of the Ray cluster: its exporter hands them to Prometheus."""

from __future__ import annotations

from ray.util.metrics import Gauge

_TAGS = ("run", "stage")


class ClusterMetrics:
    """A listener that sets gauges: ``ray_astromill_units_done``, ``_units_total``, ``_rows_read``.

    They are at the metrics port of the driver's node, which Ray lists for Prometheus
    (``prom_metrics_service_discovery.json``).
    """

    def __init__(self, run: str) -> None:
        """Makes nothing yet: the session may not be open.

        Args:
            run: name of the recipe.
        """
        self._run = run
        self._stage = ""
        self._gauges: tuple[Gauge, Gauge, Gauge] | None = None

    def stage(self, name: str, number: int, count: int) -> None:
        """A stage begins."""
        self._stage = name

    def units(self, done: int, total: int, rows: int, note: str) -> None:
        """``done`` of ``total`` units of the stage are done."""
        if self._gauges is None:
            self._gauges = (
                Gauge("astromill_units_done", "Units of the stage that are done.", tag_keys=_TAGS),
                Gauge("astromill_units_total", "Units of the stage.", tag_keys=_TAGS),
                Gauge("astromill_rows_read", "Rows read since the stage began.", tag_keys=_TAGS),
            )
        tags = {"run": self._run, "stage": self._stage}
        for gauge, value in zip(self._gauges, (done, total, rows), strict=True):
            gauge.set(value, tags)
