"""What worker processes share: imported once, before they are forked. Beam warns of cloud clients at its import."""

import logging

logging.getLogger().setLevel(logging.ERROR)

import pipeline.deduplicate
import pipeline.ingest
import pipeline.publish
