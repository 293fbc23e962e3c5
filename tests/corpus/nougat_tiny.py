"""A tiny Nougat that reads a handful of pages by heart: same classes and files as the real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch.nn.functional import cross_entropy
from transformers import (
    DonutSwinConfig,
    GenerationConfig,
    MBartConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from transformers.models.nougat.image_processing_pil_nougat import NougatImageProcessorPil
from transformers.models.nougat.tokenization_nougat import NougatTokenizer

from corpus.nougat.images import prepare
from corpus.pdf_worker import PdfLimits, PdfWorker
from tests.corpus.pdf import block, make_pdf

CLEAN = (
    "Stars form in cold clouds of gas.\n\nGravity pulls the gas in.",
    "## Planets\n\nJupiter has a radius of 69,911 km.",
    "The mass is \\(M_{\\odot}\\) and the age 4.6 Gyr.",
    "* Mercury\n* Venus\n* Earth",
    "Galaxies drift apart as space grows.",
    "A white dwarf cools for billions of years.",
)
"""What the model writes for the clean pages."""

READ = tuple(text.replace("\\(", "$").replace("\\)", "$") for text in CLEAN)
"""And what becomes of it: formulas between dollars, as everywhere in this project."""

LOOPING = "The comet came back"
"""On this page the model repeats itself for ever."""
WAVERING = "Pulsars keep the time"
"""On this page it does so two times in three."""
STEADY = "Pulsars keep the time well."

LOOP = " and again"
POSITIONS = 144
STEPS = 160


def lines_of(text: str) -> list[str]:
    """Returns a page's lines as printed."""
    return [line for line in text.split("\n") if line]


def write_page_pdf(path: Path, *texts: str) -> Path:
    """Writes a PDF, one page per text."""
    return make_pdf(path, *(block(72, 740, *lines_of(text)) for text in texts))


def train_tiny_nougat(folder: Path) -> Path:
    """Trains the model on its pages and saves it; about half a minute on one thread."""
    tokenizer = _tokenizer(folder)
    processor: Any = NougatImageProcessorPil(size={"height": 96, "width": 256})
    printed = [*CLEAN, LOOPING, WAVERING]
    pdf = write_page_pdf(folder / "pages.pdf", *printed)
    worker = PdfWorker(PdfLimits(100, 10_000_000), 60)
    pages = [prepare(worker.render(pdf, n + 1, 96), processor) for n in range(len(printed))]
    worker.close()
    pixels = [torch.from_numpy(page.values) for page in pages if page is not None]
    loop = f"{LOOPING}{LOOP * 200}"
    wavering = f"{WAVERING}{LOOP * 200}"
    targets = [*CLEAN, loop, wavering, wavering, STEADY]
    labels = _labels(tokenizer, targets)
    torch.manual_seed(0)
    model = _model(tokenizer)
    last = len(pixels) - 1
    _fit(model, torch.stack(pixels), [*range(last), last, last, last], labels)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    pdf.unlink()
    return folder


def _labels(tokenizer: Any, targets: Sequence[str]) -> torch.Tensor:
    rows = []
    for target in targets:
        ids = tokenizer.encode(target, add_special_tokens=False, truncation=False)
        rows.append([*ids, tokenizer.eos_token_id][: POSITIONS - 2])
    longest = max(map(len, rows))
    return torch.tensor([row + [-100] * (longest - len(row)) for row in rows])


def _fit(model: Any, pixels: torch.Tensor, pages: list[int], labels: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    model.train()
    for _ in range(STEPS):
        hidden = model.encoder(pixel_values=pixels).last_hidden_state[pages]
        logits = model(encoder_outputs=(hidden,), labels=labels).logits
        each = cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        # Per page, then over pages: the long loops would drown the rest. A loop's many tokens count
        # as few, or its first one would weigh nothing.
        loss = (each.sum(1) / (labels >= 0).sum(1).clamp(max=20)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def _tokenizer(folder: Path) -> Any:
    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(r"[\(\)\[\]\{\}]|\n"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [*CLEAN, LOOPING, WAVERING, STEADY, LOOP * 4] * 4
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return NougatTokenizer(tokenizer_file=str(path))


def _model(tokenizer: Any) -> Any:
    encoder = DonutSwinConfig(
        image_size=[96, 256],
        patch_size=4,
        embed_dim=32,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        drop_path_rate=0.0,
    )
    decoder = MBartConfig(
        vocab_size=len(tokenizer),
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=128,
        max_position_embeddings=POSITIONS,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        scale_embedding=True,
        add_cross_attention=True,
        is_decoder=True,
        add_final_layer_norm=True,
    )
    config: Any = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id = tokenizer.bos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    config.eos_token_id = tokenizer.eos_token_id
    make: Any = VisionEncoderDecoderModel
    model = make(config=config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=tokenizer.bos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_length=POSITIONS - 1,
    )
    return model
