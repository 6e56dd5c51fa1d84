"""Spec of a base model: which one, and the digests that prove it."""

from __future__ import annotations

import re
from dataclasses import dataclass

ENCODERS = ("BertModel", "BertForMaskedLM")
"""Encoders that can be fine-tuned, alone or below the head of their pre-training. Their code is the installed
library's; none is ever taken from a model's folder."""
DECODERS = ("LlamaForCausalLM",)
"""Causal language models that can be fine-tuned, and by nothing else that Nightshift does: compressed or served."""
NAME_MODELS = tuple(f"{kind}ForTokenClassification" for kind in ("Bert", "DistilBert", "Roberta", "XLMRoberta"))
"""Token classifiers that can look for names in texts."""
ALLOWED_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
NEEDED_FILES = ("config.json", "model.safetensors", "tokenizer.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseModelSpec:
    """A base model, pinned byte for byte."""

    name: str
    """Folder name below the models folder, e.g. `all-minilm-l6-v2`."""
    digests: tuple[tuple[str, str], ...]
    """(file name, SHA-256) of every file that is used; a file that differs in one byte is refused."""
    architectures: tuple[str, ...] = ENCODERS
    """Classes that the model's configuration may name."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", self.name):
            raise ValueError(f"base model name {self.name!r}: use 1 to 64 of a-z, 0-9, '.', '_' and '-'")
        names = [name for name, _ in self.digests]
        if unknown := sorted(set(names) - set(ALLOWED_FILES)):
            raise ValueError(f"base model files {unknown}: only {list(ALLOWED_FILES)} may be adopted")
        if missing := sorted(set(NEEDED_FILES) - set(names)):
            raise ValueError(f"base model {self.name} pins no digest of {missing}: add them")
        if len(set(names)) != len(names):
            raise ValueError(f"base model {self.name} pins a file twice: {sorted(names)}")
        for name, digest in self.digests:
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise ValueError(f"digest of {name}: {digest!r} is not 64 lower-case hex digits")
        known = (*ENCODERS, *DECODERS, *NAME_MODELS)
        if not self.architectures or set(self.architectures) - set(known):
            raise ValueError(f"architectures {self.architectures}: choose among {known}")
