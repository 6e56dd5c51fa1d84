"""A manifest's ancestry as a drawing: what it was made from, row by row, the root on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from operators.core.manifest import Manifest
from operators.core.storage import Store
from operators.core.storage.graph import shown_inputs

NODE_WIDTH, NODE_HEIGHT = 204, 52
GAP, ROW_GAP, MARGIN = 26, 48, 12
"""All in pixels of the drawing."""
MOST_NODES = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A box of the drawing."""

    key: str
    """Digest of the manifest; of inputs left out, a name that sorts last."""
    digest: str
    """Of the manifest that its page is of."""
    title: str
    note: str
    x: float
    y: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """A line from what was made to one of its inputs."""

    made: Node
    source: Node
    role: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """Boxes and lines, in pixels from the upper left."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float
    is_cut: bool
    """Whether there is more than is drawn."""


@dataclass(frozen=True, slots=True)
class _Box:
    digest: str
    title: str
    note: str


def draw(store: Store, root: str) -> Drawing:
    """Return the drawing of a manifest's ancestry. Of many inputs of one role two are drawn, and how many there are.

    Cost: a read for each manifest drawn.

    Raises:
        StorageError: A manifest cannot be read.
    """
    boxes, lines, is_cut = _walk(store, root)
    rows = _rows(root, lines)
    width = max(len(row) for row in rows) * (NODE_WIDTH + GAP) - GAP
    nodes: dict[str, Node] = {}
    for depth, row in enumerate(rows):
        left = (width - len(row) * (NODE_WIDTH + GAP) + GAP) / 2
        for place, key in enumerate(row):
            x, y = MARGIN + left + place * (NODE_WIDTH + GAP), MARGIN + depth * (NODE_HEIGHT + ROW_GAP)
            box = boxes[key]
            nodes[key] = Node(key=key, digest=box.digest, title=box.title, note=box.note, x=x, y=y)
    return Drawing(
        nodes=tuple(nodes.values()),
        edges=tuple(Edge(made=nodes[made], source=nodes[source], role=role) for made, source, role in lines),
        width=width + 2 * MARGIN,
        height=len(rows) * (NODE_HEIGHT + ROW_GAP) - ROW_GAP + 2 * MARGIN,
        is_cut=is_cut,
    )


def _walk(store: Store, root: str) -> tuple[dict[str, _Box], list[tuple[str, str, str]], bool]:
    """Return the boxes by key, the lines (made, source, role), and whether there were too many."""
    boxes: dict[str, _Box] = {}
    lines: list[tuple[str, str, str]] = []
    wanted = [root]
    while wanted and len(boxes) < MOST_NODES:
        digest = wanted.pop(0)
        if digest in boxes:
            continue
        manifest = store.manifest(digest)
        boxes[digest] = _Box(digest, manifest.stage, _note(manifest))
        shown, hidden = shown_inputs(manifest)
        inside = [(item.manifest, item.role) for item in shown if item.manifest]
        lines += [(digest, source, role) for source, role in inside]
        wanted += [source for source, _ in inside]
        for role, count in hidden.items():
            if any(of == role for _, of in inside):
                key = f"~{digest} {role}"
                boxes[key] = _Box(digest, f"{count} more", f"of role {role}")
                lines.append((digest, key, role))
    drawn = [line for line in lines if line[1] in boxes]
    return boxes, drawn, len(drawn) < len(lines)


def _rows(root: str, lines: list[tuple[str, str, str]]) -> list[list[str]]:
    """Return the keys by row: each below all that was made from it, near the middle of them."""
    depth = {root: 0}
    changed = True
    while changed:
        changed = False
        for made, source, _ in lines:
            if made in depth and depth.get(source, -1) <= depth[made]:
                depth[source] = depth[made] + 1
                changed = True
    rows: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for key, level in depth.items():
        rows[level].append(key)
    place = {root: 0.0}
    for row in rows[1:]:
        above = {key: [place[made] for made, source, _ in lines if source == key and made in place] for key in row}
        row.sort(key=lambda key: (sum(above[key]) / max(1, len(above[key])), key))
        place.update({key: (index + 0.5) / len(row) for index, key in enumerate(row)})
    return rows


def _note(manifest: Manifest) -> str:
    """Return what tells a manifest from others of its stage, and how many files outside the store it was made of."""
    outside = sum(item.manifest is None for item in manifest.inputs)
    files = f", of {outside} file{'' if outside == 1 else 's'} outside" if outside else ""
    return _distinction(manifest) + files


def _distinction(manifest: Manifest) -> str:
    facts: Mapping[str, object] = manifest.facts
    for name in ("version", "verdict", "day", "chosen", "score", "outcome"):
        if isinstance(value := facts.get(name, manifest.spec.get(name)), str | int | float):
            return f"{value:.4f}" if isinstance(value, float) else str(value)[:24]
    return manifest.digest[:12]
