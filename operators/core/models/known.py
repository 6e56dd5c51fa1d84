"""Base models whose bytes are known, so that it does not matter who hands them out."""

from __future__ import annotations

from operators.core.models.spec import DECODERS, BaseModelSpec

ALL_MINILM_L6_V2 = BaseModelSpec(
    name="all-minilm-l6-v2",
    digests=(
        ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    ),
)
"""sentence-transformers/all-MiniLM-L6-v2 at 1110a243, Apache-2.0: 6 layers, 384 wide, 22.7 million parameters."""
SMOLLM2_135M = BaseModelSpec(
    name="smollm2-135m",
    digests=(
        ("config.json", "21c14d2b4ab6f2c682ccc1f8febe3a79ba198d5d7354f767deba16a2d847154d"),
        ("model.safetensors", "eb17367a15744e94829f8f5b80a38c34b15a7ec430149436ab93a8e7d0da2516"),
        ("tokenizer.json", "03732cac5ecff8e97d4a7b2ae8e03f943809f825c857800eca0e15a14df2a62f"),
    ),
    architectures=DECODERS,
)
"""HuggingFaceTB/SmolLM2-135M-Instruct, Apache-2.0, from its GGUF of 4 bits a weight (see `gguf.convert`): 30 layers,
576 wide, 134.5 million parameters."""
