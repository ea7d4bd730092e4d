"""Readers: one file per format, bytes in, records out."""
