"""Base models whose bytes are known, so that it does not matter who hands them out."""

from __future__ import annotations

from operators.core.models.spec import BaseModelSpec

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
