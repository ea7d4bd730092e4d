"""Linear attention with fixed decay in its forms."""
