r"""Training spread in three directions, as AstroSage-70B was: TP 8 x PP 8 x DP 32.

::

                    stage 0 (PP)             stage 1              stage 2
                ┌──────────────────┐  (B,S,E) ┌──────────────┐ (B,S,E) ┌───────────────────────┐
    token ids → │ embedding, blocks│ ───────→ │ blocks       │ ──────→ │ blocks, norm, head    │
                └──────────────────┘          └──────────────┘         └───────────────────────┘
    each stage is cut in TP slices:            columns | rows            loss without whole logits
    each slice is copied DP times, and AdamW's state of a copy is shared out over the DP (ZeRO-1)

Tensor parallelism (TP) cuts matrices inside a layer and needs two sums per layer: fast links.
Pipeline parallelism (PP) hands activations from stage to stage, micro batch by micro batch.
Data parallelism (DP) is what is left of the workers. Source: AstroMLab 4, section 2.3.

Modules: ``shape`` (what the model is), ``tensor_parallel`` (cut matrices), ``vocab`` (embedding,
head, loss), ``rope``, ``attention``, ``layers`` (what a stage is made of), ``reading`` and
``writing`` (Hugging Face folders in and out, one tensor at a time), ``engine`` (a training step).
"""
