"""Tiny random models of transformers with tokenizers and texts, written to folders."""

import logging

import torch

torch.set_num_threads(1)

LAYERS, WIDTH, HEADS, HEAD_WIDTH = 2, 32, 4, 12
"""Heads times head width differ from the width, as in Gemma 2 27B."""


def write_texts(root):
    """Two kinds of documents, in folders."""
    for i in range(24):
        kind = "code" if i % 2 else "prose"
        (root / kind).mkdir(parents=True, exist_ok=True)
        words = [f"word{(i * 7 + j) % 13}{' é' * (j % 3 == 0)}" for j in range(40 + i)]
        words.append(f"number {i} ends")
        (root / kind / f"{i}.txt").write_text("\n".join(words), encoding="utf-8")
    return root


def tokenizer(texts, *, begins=True, side="right"):
    """A byte-level tokenizer; `begins` puts <bos> before a text."""
    import tokenizers
    import transformers

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=290,
        special_tokens=["<pad>", "<eos>", "<bos>", "<turn>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = [path.read_text(encoding="utf-8") for path in sorted(texts.rglob("*.txt"))]
    made.train_from_iterator(lines, trainer)
    if begins:
        made.post_processor = tokenizers.processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", made.token_to_id("<bos>"))]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        additional_special_tokens=["<turn>"],
        padding_side=side,
    )


def write_model(root, texts, *, kind="gemma2", begins=True, side="right", seed=0):
    """A random model of `kind` with its tokenizer, in the folder `root`."""
    import transformers

    logging.getLogger("transformers").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    words = tokenizer(texts, begins=begins, side=side)
    ids = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "vocab_size": 300}
    sizes = {"num_hidden_layers": LAYERS, "hidden_size": WIDTH, "num_attention_heads": HEADS}
    sizes |= {"intermediate_size": 48, "max_position_embeddings": 64}
    torch.manual_seed(seed)
    if kind == "gemma2":
        config = transformers.Gemma2Config(
            **ids, **sizes, num_key_value_heads=2, head_dim=HEAD_WIDTH, sliding_window=16
        )
        model = transformers.Gemma2ForCausalLM(config)
    elif kind == "llama":
        config = transformers.LlamaConfig(**ids, **sizes, num_key_value_heads=2)
        model = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.GPT2Config(
            **ids, n_layer=LAYERS, n_embd=WIDTH, n_head=HEADS, n_positions=64
        )
        model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # Gains and biases start at 0 or 1, where many mistakes do not show.
            parameter.add_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 1 else 0.1))
    model.save_pretrained(root)
    words.save_pretrained(root)
    return root
