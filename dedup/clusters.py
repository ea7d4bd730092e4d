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


def towards_roots(
    root: NDArray[np.int64], edges: NDArray[np.void]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return (node, the node that links it towards its root, how similar they are) for all but the roots, sorted.

    `root` holds the root of each node, `edges` (EDGE) are those of a spanning forest.
    """
    ends = np.concatenate([edges["left"], edges["right"]])
    order = np.argsort(ends, kind="stable")
    nodes, first = np.unique(ends[order], return_index=True)
    others = np.concatenate([edges["right"], edges["left"]])[order]
    similarity = np.concatenate([edges["similarity"], edges["similarity"]])[order]
    first = np.append(first, len(ends)).astype(np.int64)
    link, value = _walk(nodes, first, np.searchsorted(nodes, others), similarity, root[nodes] == nodes)
    links, linked = np.asarray(link, np.int64), np.asarray(link, np.int64) >= 0
    return nodes[linked], nodes[links[linked]], np.asarray(value, np.float32)[linked]


@njit(cache=True, nogil=True)
def _walk(nodes: Array, first: Array, others: Array, similarity: Array, is_root: Array) -> tuple[Array, Array]:
    """Walk each tree from its root; return for each node the one it was reached from (-1: a root), and the edge."""
    link = np.full(nodes.shape[0], -1, np.int64)
    value = np.zeros(nodes.shape[0], np.float32)
    queue = np.empty(nodes.shape[0], np.int64)
    filled = 0
    for node in range(nodes.shape[0]):
        if is_root[node]:
            queue[filled] = node
            filled += 1
    taken = 0
    while taken < filled:
        node = queue[taken]
        taken += 1
        for i in range(first[node], first[node + 1]):
            other = others[i]
            if link[other] < 0 and not is_root[other]:
                link[other], value[other] = node, similarity[i]
                queue[filled] = other
                filled += 1
    return link, value
