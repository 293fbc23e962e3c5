"""A model that goes out: what is known of it, its card, and the checks before it leaves.

=============  ================================================================================
``facts``      what the run's manifests and scores say about a model
``checks``     files, weights, secrets and licences; what stops a release and what to look at
``citations``  BibTeX of the papers that a recipe may name
=============  ================================================================================

The card itself is :mod:`core.model_card`.
"""
