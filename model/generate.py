"""Continue a text: `python -m model.generate --model out/model --tokenizer out/tokenizer/tokenizer.model`.

This file reads the command line and imports torch only when there is something to generate, so that help comes at
once. What it runs is model/generation.py.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate from the command line: 0 done, 2 a usage error or files that do not fit, 130 stopped by Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        for text in _texts(options):
            print(text, end="", flush=True)
        print()
    except BrokenPipeError:  # whoever read it has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _texts(options: argparse.Namespace) -> Iterator[str]:
    from model.checkpoint import load_model
    from model.generation import Sampling, decode, generate, load_pieces, trained_with

    sampling = Sampling(options.max_tokens, options.temperature, options.top_p, options.seed)
    model = load_model(options.model).to(_device(options.device))
    pieces = load_pieces(options.tokenizer, model.config.vocab_size, trained_with(options.model))
    return decode(pieces, generate(model, pieces.encode(_prompt(options.prompt)), sampling))


def _prompt(given: str | None) -> str:
    """Return the prompt, of the command line or the standard input."""
    data = sys.stdin.buffer.read() if given is None else os.fsencode(given)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"the prompt is not UTF-8: {error.reason} at byte {error.start}") from None


def _device(name: str) -> str:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is cuda, but torch finds no GPU here")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.generate", description="Continue a text, token by token.")
    parser.add_argument("--model", required=True, help="folder with model.safetensors and config.json")
    parser.add_argument("--tokenizer", required=True, help="the SentencePiece model that it was trained with")
    parser.add_argument("--prompt", help="text to continue; without it, the standard input")
    parser.add_argument("--max-tokens", type=int, default=200, help="at most; the end of the document ends it sooner")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 takes the likeliest token each time")
    parser.add_argument("--top-p", type=float, default=1.0, help="draw from the likeliest tokens of this probability")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the model runs")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
