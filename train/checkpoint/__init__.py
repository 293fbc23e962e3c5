"""Saved states of a training run: written beside the training, read into any layout of workers.

::

    checkpoints/train.cpt/
      step-00000120/                      complete: the marker is there and every file is intact
        rank-00000.safetensors ...        each worker's fragments of weights and AdamW moments
        metrics.jsonl                     what was logged up to this step
        checkpoint.json                   the marker, written last: step, cursor, files, hashes
      step-00000240.writing-5f0c1d9e/     in the making, or left by a killed start: never read

A checkpoint appears by one rename, after every worker has written and synced its file. The state
is copied to host memory while training waits; a thread writes it while training goes on. What a
worker wrote says nothing about how many workers there were: a reader puts whole tensors, or the
part it needs, together from the fragments of all files (:mod:`train.checkpoint.reader`). Only
safetensors and JSON: nothing that is read can run code.

* :mod:`train.checkpoint.format`: names, the marker
* :mod:`train.checkpoint.files`: one worker's file, written
* :mod:`train.checkpoint.reader`: tensors from all files, for any layout
* :mod:`train.checkpoint.store`: the folder: latest complete one, what is kept
* :mod:`train.checkpoint.control`: notes between driver and workers: stop, stopped, failed
* :mod:`train.checkpoint.upload`: copies elsewhere, in the background
* :mod:`train.checkpoint.saver`: what the loop calls
* :mod:`train.checkpoint.export`: a checkpoint as a Hugging Face model
"""
