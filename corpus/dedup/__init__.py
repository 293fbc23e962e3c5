"""Duplicates: signatures (map) -> clusters (reduce) -> mask (map).

::

    documents --> signatures.py  per document a hash, a MinHash signature, paragraph hashes
        |              |
        |         clusters.py    rank; equal texts; bands.py: near ones; repeats.py: paragraphs
        |              |
        +--------> stage.py      documents that stay; rejects name who stays instead

AstroMLab 3 does not say how it removed duplicates; the method is MinHash with bands (Broder 1997;
Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3) as web corpora use it.
"""

from corpus.dedup.clusters import DedupClustersStage
from corpus.dedup.signatures import DedupSignaturesStage
from corpus.dedup.stage import DedupStage

__all__ = ["DedupClustersStage", "DedupSignaturesStage", "DedupStage"]
