"""Clusters: stars over equal hashes, spanning forests, union-find over dense numbers."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.generic]

NEAR, SAME_URL, SAME_WORDS, SAME_TEXT = range(4)  # why two documents are linked; the higher is preferred
# left < right in forests; the similarity is that of the two ends' shingles
EDGE = np.dtype([("left", np.int64), ("right", np.int64), ("similarity", np.float32), ("kind", np.uint8)])
CANDIDATE = np.dtype([("hash", np.uint64), ("key", np.uint64), ("centre", np.int64), ("member", np.int64)])


def stars(hashes: NDArray[np.uint64], keys: NDArray[np.uint64], numbers: NDArray[np.int64]) -> NDArray[np.void]:
    """Link every document to the one of least (key, number) with the same hash.

    Returns CANDIDATE rows, one for each document that is not its star's centre, with the member's key: n - 1 for a
    bucket of n, however large. A document that occurs twice with a hash counts once. Keys that do not depend on the
    order of the corpus make stars that do not.
    """
    order = np.flatnonzero(_may_be_shared(hashes, np.zeros(1 << (2 * len(hashes)).bit_length(), np.uint8)))
    order = order[np.argsort(hashes[order])]
    ordered = hashes[order]
    new = np.ones(len(order) + 1, bool)
    new[1:-1] = ordered[1:] != ordered[:-1]
    shared = ~(new[:-1] & new[1:])  # whose hash another row has too
    order, new = order[shared], new[:-1][shared]
    if not len(order):
        return np.empty(0, CANDIDATE)
    order = order[np.lexsort((numbers[order], keys[order], np.cumsum(new)))]
    centre = numbers[order][np.flatnonzero(new)[np.cumsum(new) - 1]]
    numbers = numbers[order]
    member = numbers != centre
    member[1:] &= new[1:] | (numbers[1:] != numbers[:-1])
    out = np.empty(int(member.sum()), CANDIDATE)
    out["hash"], out["key"] = hashes[order][member], keys[order][member]
    out["centre"], out["member"] = centre[member], numbers[member]
    return out


@njit(cache=True, nogil=True)
def _may_be_shared(hashes: Array, seen: Array) -> Array:
    """Tell of each hash (n) whether another may equal it: most are alone in their slot, and need not be sorted.

    `seen` are zeros, a power of two of bytes; four slots of two bits share a byte: none, one, more.
    """
    mask = np.uint64(4 * seen.shape[0] - 1)
    for i in range(hashes.shape[0]):
        slot = hashes[i] & mask
        bits = (slot & np.uint64(3)) << np.uint64(1)
        held = seen[slot >> np.uint64(2)]
        seen[slot >> np.uint64(2)] = held | (np.uint64(1) + (np.uint64(held) >> bits & np.uint64(1))) << bits
    shared = np.empty(hashes.shape[0], np.bool_)
    for i in range(hashes.shape[0]):
        slot = hashes[i] & mask
        shared[i] = np.uint64(seen[slot >> np.uint64(2)]) >> ((slot & np.uint64(3)) << np.uint64(1)) & np.uint64(2) > 0
    return shared


def forest(edges: NDArray[np.void]) -> NDArray[np.void]:
    """Return the edges (EDGE) of a spanning forest that prefers strong ones, sorted; numbers may be sparse.

    Strong is a high kind, then a high similarity. The result depends on the set of edges only, not on their order.
    """
    nodes, flat = np.unique(np.concatenate([edges["left"], edges["right"]]), return_inverse=True)
    kind, similarity = edges["kind"].astype(np.int64), edges["similarity"]
    order = np.lexsort((edges["right"], edges["left"], -similarity, -kind))
    parent = np.arange(len(nodes))
    kept = union(parent, flat[: len(edges)][order], flat[len(edges) :][order])
    out = edges.take(order[kept])  # of structured rows, take is eight times as fast as an index
    return out.take(np.lexsort((out["right"], out["left"])))


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
def flatten(parent: Array) -> None:
    """Let every node point at the smallest number of its cluster, in place: eight bytes a node are all it takes."""
    for node in range(parent.shape[0]):
        parent[node] = parent[parent[node]]  # the smaller ones are done, and no parent is larger


@njit(cache=True, nogil=True)
def clustered(parent: Array) -> int:
    """Mark the roots of clusters of two and more, parent[root] = -root - 1; return how many nodes are in one.

    `parent` is flattened.
    """
    count = 0
    for node in range(parent.shape[0]):
        root = parent[node]
        if root < node:
            count += 1 if parent[root] < 0 else 2
            parent[root] = -root - 1
    return count


def towards_roots(
    root: NDArray[np.int64], edges: NDArray[np.void]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return (node, the node that links it towards its root, the row of that edge) for all but the roots, sorted.

    `root` holds the root of each node, any of its cluster; `edges` (EDGE) are those of a spanning forest.
    """
    ends = np.concatenate([edges["left"], edges["right"]])
    order = np.argsort(ends, kind="stable")
    nodes, first = np.unique(ends[order], return_index=True)
    others = np.concatenate([edges["right"], edges["left"]])[order]
    first = np.append(first, len(ends)).astype(np.int64)
    found = _walk(nodes, first, np.searchsorted(nodes, others), root[nodes] == nodes)
    link, taken = (np.asarray(column, np.int64) for column in found)
    linked = link >= 0
    return nodes[linked], nodes[link[linked]], order[taken[linked]] % max(len(edges), 1)


@njit(cache=True, nogil=True)
def _walk(nodes: Array, first: Array, others: Array, is_root: Array) -> tuple[Array, Array]:
    """Walk each tree from its root; return for each node the one it was reached from (-1: a root), and over what."""
    link = np.full(nodes.shape[0], -1, np.int64)
    over = np.zeros(nodes.shape[0], np.int64)
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
                link[other], over[other] = node, i
                queue[filled] = other
                filled += 1
    return link, over
