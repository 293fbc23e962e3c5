"""The runner: takes stages from recipe to finished output on Ray.

``run`` decides what to do and writes manifests; ``shards`` spreads a shard stage's units over tasks
or actors; ``commit`` makes one unit's output durable; ``jobs`` runs job stages.
"""

from core.runner.run import run_pipeline

__all__ = ["run_pipeline"]
