"""Stars, forests and union-find agree with their slow definitions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dedup.clusters import EDGE, SAME_TEXT, clustered, flatten, forest, stars, towards_roots, union

Edge = tuple[int, int, float]
EDGES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from([0.5, 0.75, 1.0])).filter(lambda e: e[0] < e[1]),
    max_size=40,
)


def packed(edges: list[Edge]) -> NDArray[np.void]:
    """Return edges as an array."""
    return np.array([(*edge, 0) for edge in edges], EDGE)


def plain(edges: NDArray[np.void]) -> list[Edge]:
    """Return edges without their kind."""
    return [edge[:3] for edge in edges.tolist()]


def slow_clusters(count: int, edges: list[Edge]) -> list[int]:
    """Return the smallest number of each node's cluster, by relabelling until nothing changes."""
    label = list(range(count))
    for _ in range(count):
        for left, right, _ in edges:
            label[left] = label[right] = min(label[left], label[right])
    return label


def clusters(count: int, edges: NDArray[np.void]) -> list[int]:
    """Return the smallest number of each node's cluster."""
    parent = np.arange(count)
    union(parent, edges["left"].astype(np.int64), edges["right"].astype(np.int64))
    flatten(parent)
    return parent.tolist()


@settings(max_examples=80, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=40),
    keys=st.lists(st.integers(0, 3), min_size=10, max_size=10),
    shift=st.sampled_from([0, 40]),
)
def test_stars_link_all_to_the_least(pairs: list[tuple[int, int]], keys: list[int], shift: int) -> None:
    """Each distinct document of a bucket is linked once, to the one of least key, then number, and keeps its key.

    Hashes that are equal in their low bits only are no bucket.
    """
    pairs = [(h << shift, n) for h, n in pairs]
    hashes = np.array([h for h, _ in pairs], np.uint64)
    numbers = np.array([n for _, n in pairs], np.int64)
    key = np.array(keys, np.uint64)
    buckets: dict[int, set[int]] = {}
    for h, n in pairs:
        buckets.setdefault(h, set()).add(n)
    centre = {h: min((keys[n], n) for n in bucket)[1] for h, bucket in buckets.items()}
    expected = {(h, keys[n], centre[h], n) for h, bucket in buckets.items() for n in bucket if n != centre[h]}
    assert sorted(stars(hashes, key[numbers], numbers).tolist()) == sorted(expected)


@settings(max_examples=80, deadline=None)
@given(edges=EDGES)
def test_union_find_gives_the_smallest_number_of_each_cluster(edges: list[Edge]) -> None:
    """The labels are those of the slow way."""
    assert clusters(13, packed(edges)) == slow_clusters(13, edges)


@settings(max_examples=80, deadline=None)
@given(edges=EDGES, shuffled=st.randoms())
def test_a_forest_keeps_the_clusters_and_forgets_the_order(edges: list[Edge], shuffled: object) -> None:
    """A forest has the clusters of its edges, no cycle, the best edges, and is the same for any order."""
    kept = forest(packed(edges))
    assert clusters(13, kept) == slow_clusters(13, edges)
    assert len(kept) == 13 - len(set(slow_clusters(13, edges)))
    mixed = list(edges)
    shuffled.shuffle(mixed)  # type: ignore[attr-defined]
    assert forest(packed(mixed)).tolist() == kept.tolist()
    for similarity in (0.75, 1.0):
        strong = [edge for edge in edges if edge[2] >= similarity]
        assert clusters(13, kept[kept["similarity"] >= similarity]) == slow_clusters(13, strong)


@settings(max_examples=100, deadline=None)
@given(edges=EDGES, cut=st.integers(0, 40))
def test_forests_merge_as_if_they_were_one(edges: list[Edge], cut: int) -> None:
    """The forest of two forests is the forest of all edges."""
    halves = np.concatenate([forest(packed(edges[:cut])), forest(packed(edges[cut:]))])
    assert forest(halves).tolist() == forest(packed(edges)).tolist()


def test_numbers_may_be_sparse() -> None:
    """A forest does not care how large its numbers are."""
    edges = packed([(5, 2**50, 0.5), (2**50, 2**60, 0.5), (5, 2**60, 0.9)])
    assert plain(forest(edges)) == [(5, 2**50, 0.5), (5, 2**60, np.float32(0.9))]


def test_a_forest_prefers_equal_texts() -> None:
    """Of edges between two documents the one of the higher kind stays, whatever its similarity."""
    edges = np.array([(1, 2, 0.9, 0), (1, 2, 0.5, SAME_TEXT), (1, 2, 0.7, 1)], EDGE)
    assert forest(edges).tolist() == [(1, 2, 0.5, SAME_TEXT)]


def test_a_chain_of_5000_is_one_cluster() -> None:
    """However the edges of a long chain come, all its documents have one root."""
    order = np.random.default_rng(1).permutation(4999)
    edges = np.zeros(4999, EDGE)
    edges["left"], edges["right"], edges["similarity"] = order, order + 1, 1.0
    assert set(clusters(5000, forest(edges))) == {0}


def test_a_hot_bucket_costs_one_edge_a_document() -> None:
    """A bucket of 10,000 gives 9,999 edges, and one cluster."""
    numbers = np.tile(np.arange(10_000)[::-1], 2)
    found = stars(np.full(20_000, 9, np.uint64), numbers.astype(np.uint64), numbers)
    assert len(found) == 9999
    assert set(found["centre"].tolist()) == {0}
    assert sorted(found["member"].tolist()) == list(range(1, 10_000))


@settings(max_examples=80, deadline=None)
@given(edges=EDGES, draw=st.randoms())
def test_links_lead_to_the_root(edges: list[Edge], draw: object) -> None:
    """Every node but the roots has one link, an edge of the forest, and links end at the root, whichever node it is."""
    tree = forest(packed(edges))
    label = np.array(clusters(13, tree))
    chosen = {root: draw.choice(np.flatnonzero(label == root).tolist()) for root in label.tolist()}  # type: ignore[attr-defined]
    root = np.array([chosen[x] for x in label.tolist()], np.int64)
    nodes, linked, which = towards_roots(root, tree)
    link = dict(zip(nodes.tolist(), linked.tolist(), strict=True))
    assert sorted(link) == np.flatnonzero(root != np.arange(13)).tolist()
    for node, other, row in zip(nodes.tolist(), linked.tolist(), which.tolist(), strict=True):
        assert (min(node, other), max(node, other)) == tree[row].tolist()[:2]
        for _ in range(13):
            node = link.get(node, node)  # noqa: PLW2901 - the walk is the loop's own
        assert node == root[other]


@settings(max_examples=80, deadline=None)
@given(edges=EDGES)
def test_clustered_nodes_are_those_with_company(edges: list[Edge]) -> None:
    """Nodes of clusters of two and more are counted, and their roots marked."""
    label = np.array(slow_clusters(13, edges))
    parent = label.copy()
    company = np.bincount(label, minlength=13)[label] > 1
    assert clustered(parent) == company.sum()
    assert (np.where(parent < 0, ~parent, parent) == label).all()
    assert (np.flatnonzero(parent < 0) == np.flatnonzero(company & (label == np.arange(13)))).all()
