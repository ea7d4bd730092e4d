"""Clusters: stars over equal hashes, spanning forests, union-find over dense numbers."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.generic]

EDGE = np.dtype([("left", np.int64), ("right", np.int64), ("similarity", np.float32)])  # left < right


def stars(hashes: NDArray[np.uint64], numbers: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Link every document to the smallest number with the same hash.

    Returns (hash, centre, member), one row for each document that is not its star's centre: n - 1 edges for a bucket
    of n, however large. A document that occurs twice with a hash counts once.
    """
    order = np.lexsort((numbers, hashes))
    hashes, numbers = hashes[order], numbers[order]
    new = np.ones(len(hashes), bool)
    new[1:] = hashes[1:] != hashes[:-1]
    centre = numbers[np.flatnonzero(new)[np.cumsum(new) - 1]] if len(numbers) else numbers
    member = numbers > centre
    member[1:] &= new[1:] | (numbers[1:] != numbers[:-1])
    return hashes[member], centre[member], numbers[member]


def forest(edges: NDArray[np.void]) -> NDArray[np.void]:
    """Return the edges (EDGE) of a spanning forest that prefers high similarity, sorted; numbers may be sparse.

    The result depends on the set of edges only, not on their order.
    """
    order = np.lexsort((edges["right"], edges["left"], -edges["similarity"]))
    edges = edges[order]
    nodes, flat = np.unique(np.concatenate([edges["left"], edges["right"]]), return_inverse=True)
    parent = np.arange(len(nodes))
    kept = union(parent, flat[: len(edges)], flat[len(edges) :])
    out = edges[kept]
    return out[np.lexsort((out["right"], out["left"]))]


@njit(cache=True, nogil=True)
def find(parent: Array, node: int) -> int:
    """Return the smallest number of a node's cluster, and shorten the way to it."""
    root = node
    while parent[root] != root:
        root = parent[root]
    while parent[node] != root:
        parent[node], node = root, parent[node]
    return root


@njit(cache=True, nogil=True)
def union(parent: Array, left: Array, right: Array) -> Array:
    """Join the ends of edges (n) in place; returns for each whether it joined two clusters (n)."""
    joined = np.zeros(left.shape[0], np.bool_)
    for i in range(left.shape[0]):
        a, b = find(parent, left[i]), find(parent, right[i])
        if a != b:
            joined[i] = True
            parent[max(a, b)] = min(a, b)
    return joined


@njit(cache=True, nogil=True)
def roots(parent: Array) -> Array:
    """Return the smallest number of each node's cluster (n)."""
    out = np.empty_like(parent)
    for node in range(parent.shape[0]):
        out[node] = find(parent, node)
    return out


@njit(cache=True, nogil=True)
def best_links(count: int, left: Array, right: Array, similarity: Array) -> tuple[Array, Array]:
    """Return for each of `count` nodes the most similar node that an edge links it to, and how similar; -1 for none.

    Of equally similar ones the smaller number.
    """
    link = np.full(count, -1, np.int64)
    value = np.full(count, -1.0, np.float32)
    for i in range(left.shape[0]):
        for node, other in ((left[i], right[i]), (right[i], left[i])):
            if similarity[i] > value[node] or (similarity[i] == value[node] and other < link[node]):
                link[node], value[node] = other, similarity[i]
    return link, value
