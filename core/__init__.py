"""The base layer: recipes, shards, the stage protocol, the runner and language-model engines.

Everything above (``corpus``, ``synth``, ``train``, ``merge``, ``eval``, ``ray_jobs``) may import
from here; nothing here imports from them.
"""

import os

# How soon a call to a node whose network is gone is given up. Ray's five minutes and two hold a
# stage up for that long. Here, since Ray reads them as it is imported, and all of ours imports
# this first.
os.environ.setdefault("RAY_grpc_client_keepalive_time_ms", "20000")
os.environ.setdefault("RAY_grpc_client_keepalive_timeout_ms", "60000")
