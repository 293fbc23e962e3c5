"""The base layer: recipes, shards, the stage protocol, the runner and language-model engines.

Everything above (``corpus``, ``synth``, ``train``, ``merge``, ``eval``, ``ray_jobs``) may import
from here; nothing here imports from them.
"""
