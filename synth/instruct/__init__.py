"""Instruction sets of others: from their files to conversations.

::

    blocks.py      a file -> blocks of work: byte ranges, or rows of Parquet
    records.py     a block -> records, one JSON value each     (json_array.py finds them in arrays)
    formats.py     a record -> turns: ShareGPT, messages, Alpaca, Nemotron
    content.py     a turn's content: text, or a list of parts
    filters.py     which conversations stay: letters, keywords, language, length
    claims.py      "I am ChatGPT", "I'm sorry, but I can't"
    stage.py       all of it as the stage ``synth.instruct``
"""
