"""TransNormer: the network, its training, its scores and the dataset over token shards."""
