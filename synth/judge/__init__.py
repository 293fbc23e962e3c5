"""The judge of question-answer pairs: AstroMLab 3, section III.1.

::

    synth.qa -> synth.judge -> synth.pairs -> conversations
                     |
                     +-> synth.judge_report <- synth.judge_second

A language model gives each pair four scores from 1 to 5 (``stage``, with ``prompt``, ``verdict``
and ``expected``). A rule keeps pairs by their scores (``keep``), apart from the judging, so that it
can be moved without asking again. How far a judge can be trusted is measured in three ways: its
agreement with a second judge (``agreement``, ``report``), with a person (``sheet``), and against
pairs with planted faults (``measure``).
"""
