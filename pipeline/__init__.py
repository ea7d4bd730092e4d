"""The stages, in the order in which they run; the only package that knows Beam."""
