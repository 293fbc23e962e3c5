"""The fine-tuning data: conversation sets, sampled, without duplicates, shuffled.

::

    conversations of several stages
        |
        +--> rows.py    per conversation: hashes, signature, bytes, tokens, benchmark items
        |      |
        |   plan.py     rank; duplicates; what is taken how often; where it goes; report and plot
        |      |          (sets.py: which set is whose, and how much; choice.py: who stays)
        +--> pick.py    groups of input shards: their rows that are taken, sorted by output shard;
        |               all others are rejects
        +--> stage.py   output shards: from each group the few row groups that hold its rows

Every conversation is read three times and written twice, however many shards there are: an output
shard has rows of every input shard, and would read all of them if they were not sorted before.

AstroMLab 4, section 2.2: "After combination, the dataset was deduplicated and shuffled".
"""

from synth.mixture.pick import MixturePickStage
from synth.mixture.plan import MixturePlanStage
from synth.mixture.rows import MixtureRowsStage
from synth.mixture.stage import MixtureStage

__all__ = ["MixturePickStage", "MixturePlanStage", "MixtureRowsStage", "MixtureStage"]
