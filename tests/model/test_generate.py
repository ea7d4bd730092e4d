"""Generation continues with what the parallel form says, and the command explains what it cannot do."""

import hashlib
import io
import json
import math
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import sentencepiece
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import one_hot

from model.checkpoint import save_model
from model.config import TransNormerConfig
from model.generate import main
from model.generation import Sampling, choose, decode, generate, load_pieces, read
from model.transnormer import TransNormer

CONFIG = TransNormerConfig(vocab_size=300, eos=2, width=24, layers=2, heads=3, hidden=32)
GREEDY = Sampling(tokens=30, temperature=0.0)


def drawn(config: TransNormerConfig = CONFIG) -> TransNormer:
    """Return a model livelier than a fresh one."""
    model = TransNormer(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(1 if "theta" in name else 10)
    return model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a SentencePiece model of 300 pieces with byte fallback."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat and the rat ran"] * 20),
        model_writer=trained,
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(trained.getvalue())
    return path


@pytest.fixture(scope="module")
def folder(tokenizer: Path) -> Path:
    """Save a model for that tokenizer."""
    size = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.read_bytes()).vocab_size()
    save_model(tokenizer.parent / "model", drawn(replace(CONFIG, vocab_size=size)))
    return tokenizer.parent / "model"


@pytest.mark.parametrize("segment", [1, 7, 64, 100, 1000])
def test_a_prompt_read_in_segments_gives_the_logits_of_the_whole(segment: int) -> None:
    """Chunked prefill ends with the parallel form's logits and state, in a call a segment, not a token."""
    model, prompt = drawn(), [int(t) for t in torch.randint(300, (150,))]
    calls: list[int] = []
    model.layers[0].register_forward_hook(lambda _, given, __: calls.append(given[0].shape[1]))
    logits, state = read(model, prompt, segment_tokens=segment)
    assert len(calls) == math.ceil(150 / segment)
    whole, end = model(torch.tensor([prompt]))
    torch.testing.assert_close(logits, whole[0, -1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(state.attention[1], end.attention[1], rtol=1e-4, atol=1e-4)
    assert state.position.tolist() == [150]


def test_each_token_is_the_likeliest_after_all_before_it() -> None:
    """Greedy tokens, one by one from the state, are the argmax of the parallel form over the whole text."""
    model, prompt = drawn(), [5, 6, 7]
    found = list(generate(model, prompt, GREEDY))
    assert len(found) == 30
    logits, _ = model(torch.tensor([[CONFIG.eos, *prompt, *found]]))
    assert logits[0, len(prompt) : -1].argmax(-1).tolist() == found


def test_the_state_does_not_grow() -> None:
    """After 5 and after 5,000 tokens the state has as many bytes."""
    model = drawn()
    sizes = [[x.nbytes for x in read(model, [3] * count)[1].attention] for count in (5, 5000)]
    assert sizes[0] == sizes[1]


def test_the_end_of_a_document_ends_the_text() -> None:
    """Generation stops before an end-of-document token."""
    model, script = drawn(), iter([9, 5, CONFIG.eos, 7])
    model.head.register_forward_hook(lambda *_: 100.0 * one_hot(torch.tensor(next(script)), CONFIG.vocab_size))
    assert list(generate(model, [9], GREEDY)) == [9, 5]
    assert list(script) == [7]


def test_draws_follow_temperature_and_top_p() -> None:
    """Shares are those of the softmax, sharper at a low temperature, and none beyond the nucleus."""
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()

    def shares(sampling: Sampling) -> list[float]:
        draws = torch.Generator().manual_seed(1)
        counted = Counter(choose(logits, sampling, draws) for _ in range(4000))
        return [counted[token] / 4000 for token in range(4)]

    assert shares(Sampling()) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert shares(Sampling(temperature=1e-309)) == [1, 0, 0, 0]
    assert shares(Sampling(temperature=0.5)) == pytest.approx([0.685, 0.247, 0.062, 0.007], abs=0.03)
    assert shares(Sampling(top_p=0.8)) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert shares(Sampling(top_p=0.79))[2:] == [0, 0]
    assert shares(Sampling(top_p=1e-9)) == shares(Sampling(temperature=0)) == [1, 0, 0, 0]


def test_the_seed_decides() -> None:
    """The same seed gives the same tokens, another one others."""
    model = drawn()
    first, again, other = (list(generate(model, [1], Sampling(tokens=20, seed=seed))) for seed in (3, 3, 4))
    assert first == again != other


def test_text_is_streamed_in_whole_characters(tokenizer: Path) -> None:
    """Bytes of one character come out together, a cut character at the end becomes U+FFFD."""
    pieces = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.read_bytes())
    tokens = [pieces.piece_to_id(f"<0x{byte:02X}>") for byte in "é数".encode()[:-1]]
    assert list(decode(pieces, iter([*tokens, pieces.piece_to_id("\u2581the")]))) == ["", "é", "", "", "\ufffd the", ""]
    assert list(decode(pieces, iter(tokens)))[-1] == "\ufffd"


def test_the_command_prints_prompted_text(
    folder: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt as an option or on the standard input gives the same text, that of `generate`."""
    asked = ["--model", str(folder), "--tokenizer", str(tokenizer), "--max-tokens", "9", "--seed", "5"]
    assert main([*asked, "--prompt", "the cat"]) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the cat")))
    assert main(asked) == 0
    assert capsys.readouterr().out == first
    assert len(first) > 1
    assert main([*asked[:-1], "6", "--prompt", "the cat"]) == 0
    assert capsys.readouterr().out != first


def test_another_tokenizer_of_the_same_size_is_refused(
    folder: Path, tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that was trained on shards knows the checksum of their tokenizer, and other pieces would mean nothing."""
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    asked = ["--model", str(model), "--tokenizer", str(tokenizer), "--prompt", "a", "--max-tokens", "1"]
    for content, code in ((tokenizer.read_bytes(), 0), (b"another", 2)):
        (model / "run.json").write_text(json.dumps({"tokenizer": hashlib.sha256(content).hexdigest()}))
        assert main(asked) == code
    assert "is not the tokenizer that the model was trained with" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error(folder: Path, tokenizer: Path) -> None:
    """Cut off by `head`, the command ends without a word."""
    asked = ["--model", str(folder), "--tokenizer", str(tokenizer), "--prompt", "a", "--max-tokens", "3000"]
    command = [sys.executable, "-m", "model.generate", *asked]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "-1"], "temperature must be at least 0 and finite, got -1.0"),
        (["--top-p", "0"], "top-p must be above 0 and at most 1, got 0.0"),
        (["--seed", "-1"], "seed must be from 0 to 2^63 - 1, got -1"),
        (["--max-tokens", "0"], "max-tokens must be at least 1, got 0"),
        (["--tokenizer", "no"], "no does not exist: the tokenizer must be the file of a SentencePiece model"),
        (["--tokenizer", "."], ". is a folder: the tokenizer must be the file of a SentencePiece model"),
        (["--prompt", "a\udcff"], "the prompt is not UTF-8: invalid start byte at byte 1"),
        (["--model", "no"], "no/config.json does not exist: no holds no model"),
    ],
)
def test_what_cannot_be_generated_is_one_line(
    folder: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """The exit code is 2, and the line names the option or file and what is allowed."""
    assert main(["--model", str(folder), "--tokenizer", str(tokenizer), "--prompt", "a", *options]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_another_tokenizer_is_refused(tmp_path: Path, tokenizer: Path) -> None:
    """A file that is no tokenizer and one of another size are named."""
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"junk is not a SentencePiece model"):
        load_pieces(tmp_path / "junk", 300)
    with pytest.raises(ValueError, match=r"pieces, the model 9: it is not its tokenizer"):
        load_pieces(tokenizer, 9)


def test_help_does_not_import_torch() -> None:
    """Torch takes seconds to import: the command leaves it out until there is something to generate."""
    code = "import sys, model.generate; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_text_needs_a_token_to_start_from() -> None:
    """Reading nothing is an error; a generation without a prompt starts from the end-of-document token."""
    with pytest.raises(ValueError, match="there must be a token to read"):
        read(drawn(), [])
    assert list(islice(generate(drawn(), [], GREEDY), 3))


def test_states_and_prompts_are_where_the_weights_are() -> None:
    """On a GPU, which torch imagines here, nothing is made on the CPU: a text is read and read on."""
    with FakeTensorMode(), torch.device("cuda"):
        model = TransNormer(CONFIG)
        fresh = model.empty_state(1)
        _, state = read(model, [9, 5, 7], fresh)
        logits, state = read(model, [4], state)
        assert {x.device.type for x in (fresh.position, *fresh.attention, state.position, logits)} == {"cuda"}


def test_a_missing_gpu_is_named(folder: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for a GPU that is not there, the command says so in one line."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    arguments = ["--model", str(folder), "--tokenizer", str(tokenizer), "--prompt", "the", "--device", "cuda"]
    assert main(arguments) == 2
    assert capsys.readouterr().err == "error: --device is cuda, but torch finds no GPU here\n"
