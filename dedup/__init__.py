"""Exact hashes, MinHash signatures, LSH bands and the union-find over candidate pairs."""
