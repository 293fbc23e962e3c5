"""Where bytes are: local paths, S3 and its kind, ``gs://``, ``hf://``. Stages see local files only.

``urls`` knows what a URL may say; ``backends`` and ``remote`` move objects; ``cache`` keeps copies
on this node; ``inputs`` makes a recipe's paths local; ``mirror`` does so for a run's stages;
``lease`` keeps two drivers apart. How a run is committed is in ``core/runner/remote.py``, and why
in ``docs/storage.md``.
"""
