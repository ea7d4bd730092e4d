"""Tokenizer: text to ids and back, exactly."""

from collections.abc import Sequence
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt
import sentencepiece

from tokenizer.sentences import RESERVED
from tokenizer.units import Bytes, Ids, Ints, Units, encode_units, make_units, packed, same_bytes

SPACE = "\u2581"  # how SentencePiece writes a space
TOGETHER = 1 << 22  # bytes of texts that are cut into units at once


def token_type(vocab_size: int) -> type[np.unsignedinteger]:
    """Return the smallest type that holds every id."""
    return np.uint16 if vocab_size <= np.iinfo(np.uint16).max + 1 else np.uint32


class _Changed(Exception):  # noqa: N818 - what a model does, not an error
    """A model changes text before it encodes it, so it cannot be given a part at a time."""


class Tokenizer:
    """A SentencePiece model with byte fallback; decode(encode(text)) == text for every text.

    Raises ValueError for a model that is none, or that has no byte fallback or end-of-document piece.
    """

    def __init__(self, model: bytes) -> None:
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise ValueError(f"not a SentencePiece model: {error}") from error
        self.vocab_size: int = self._model.vocab_size()
        self.end_of_document: int = self._model.eos_id()
        named = {name: getattr(self._model, name + "_id")() for name in ("unk", "bos", "eos", "pad")}
        self.special_ids: dict[str, int] = {name: index for name, index in named.items() if index >= 0}
        self._byte_ids = [self._model.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]
        if self._model.unk_id() in self._byte_ids or self.end_of_document < 0:
            raise ValueError("the tokenizer needs byte fallback and an end-of-sentence piece")
        self._changes_text = False

    @cached_property
    def _bytes(self) -> list[bytes]:
        """What each piece stands for."""
        return [self._piece_bytes(index) for index in range(self.vocab_size)]

    @cached_property
    def _packed_bytes(self) -> tuple[Bytes, Ints]:
        """The bytes of all pieces, one after the other, and where each begins."""
        return packed(self._bytes)

    @cached_property
    def _units(self) -> Units:
        byte_ids = set(self._byte_ids)
        return make_units(piece.decode() for i, piece in enumerate(self._bytes) if i not in byte_ids)

    def _piece_bytes(self, index: int) -> bytes:
        """Return what a piece stands for; control pieces stand for nothing."""
        piece = self._model.id_to_piece(index)
        if self._model.is_byte(index):
            return bytes([int(piece[3:5], 16)])
        return (
            b""
            if self._model.is_control(index) or self._model.is_unknown(index)
            else piece.replace(SPACE, " ").encode()
        )

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """The smallest type that holds every id."""
        return token_type(self.vocab_size)

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.unsignedinteger]]:
        """Return the ids of each text, without an end-of-document id."""
        plain = [i for i, text in enumerate(texts) if not RESERVED.search(text)]
        ids: list[npt.NDArray[np.unsignedinteger]] = [np.empty(0, self.dtype)] * len(texts)
        for i, tokens in zip(plain, self._encoded([texts[i] for i in plain]), strict=True):
            ids[i] = tokens
        for i in set(range(len(texts))) - set(plain):
            ids[i] = np.asarray(self._around_reserved(texts[i]), self.dtype)
        return ids

    def _encoded(self, texts: Sequence[str]) -> list[npt.NDArray[np.unsignedinteger]]:
        """Return the ids of texts without reserved characters: by units, unless the model changes text."""
        ids: list[npt.NDArray[np.unsignedinteger]] = []
        waiting: list[bytes] = []
        size = 0
        try:
            for number, text in enumerate(texts, 1):
                if self._changes_text:
                    break
                waiting.append(text.encode())
                size += len(waiting[-1])
                if size >= TOGETHER or number == len(texts):
                    ids += self._by_units(waiting)
                    waiting, size = [], 0
        except _Changed:
            self._changes_text = True
        return ids + [np.asarray(tokens, self.dtype) for tokens in self._encode_each(list(texts[len(ids) :]))]

    def _by_units(self, texts: Sequence[bytes]) -> list[npt.NDArray[np.unsignedinteger]]:
        data = np.frombuffer(b"".join(texts), np.uint8)
        offsets = np.cumsum([0, *map(len, texts)])
        ids, starts = encode_units(self._units, data, offsets, self._encode_units)
        return np.split(ids.astype(self.dtype), starts[1:-1])

    def _encode_units(self, units: Sequence[bytes]) -> tuple[Ids, Ints]:
        """Return the ids of units; raises _Changed where they stand for other text."""
        encoded = self._encode_each(list(units))
        bounds = np.cumsum([0, *map(len, encoded)])
        ids = np.fromiter(chain.from_iterable(encoded), np.int32, int(bounds[-1]))
        if not same_bytes(units, ids, bounds, self._packed_bytes):
            raise _Changed
        return ids, bounds

    def _encode_each(self, parts: list[str] | list[bytes]) -> list[list[int]]:
        """Return the ids of each part; SentencePiece begins a thread for a list, even an empty one."""
        return self._model.encode(parts, num_threads=1) if parts else []

    def _around_reserved(self, text: str) -> list[int]:
        """Encode what lies between reserved characters, and these byte by byte."""
        ids: list[int] = []
        start = 0
        for match in RESERVED.finditer(text):
            ids += self._model.encode(text[start : match.start()], num_threads=1)
            ids += [self._byte_ids[byte] for byte in match.group().encode()]
            start = match.end()
        return ids + list(self._model.encode(text[start:], num_threads=1))

    def decode(self, ids: Sequence[int] | npt.NDArray[np.unsignedinteger]) -> str:
        """Return the text of ids; bytes that are no UTF-8 (a cut text) become U+FFFD."""
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", errors="replace")
