"""How well a finished run's score finds known damage in good text that none of its judges saw."""
