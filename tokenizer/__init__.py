"""SentencePiece training and encoding, lossless."""
