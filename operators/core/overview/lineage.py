"""A manifest's ancestry as a drawing: what it was made from, row by row, the root on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from operators.core.manifest import Manifest
from operators.core.storage import Store
from operators.core.storage.graph import shown_inputs

NODE_WIDTH, NODE_HEIGHT, BEND_WIDTH = 204, 52, 14
GAP, ROW_GAP, MARGIN = 22, 44, 12
"""All in pixels of the drawing; a bend is where a long line passes a row."""
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
    """A line from what was made to one of its inputs, past the boxes of the rows between them."""

    made: Node
    source: Node
    role: str
    path: str
    """Of the line, as SVG has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """Boxes and lines, in pixels from the upper left."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float
    is_cut: bool
    """Whether there is more than is drawn."""


Place = tuple[str, int | None]
"""What stands in a row: a box by its key, or, with a number, the bend there of the lines to that box."""


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
    rows, routes = _rows(root, lines)
    width = max(_width(row) for row in rows)
    nodes: dict[str, Node] = {}
    middles: dict[Place, tuple[float, float]] = {}
    for depth, row in enumerate(rows):
        x, y = MARGIN + (width - _width(row)) / 2, MARGIN + depth * (NODE_HEIGHT + ROW_GAP)
        for place in row:
            key, wide = place[0], _width([place])
            middles[place] = (x + wide / 2, y)
            if place == (key, None):
                box = boxes[key]
                nodes[key] = Node(key=key, digest=box.digest, title=box.title, note=box.note, x=x, y=y)
            x += wide + GAP
    ways = {ends: _path([middles[place] for place in route]) for ends, route in routes.items()}
    edges = (
        Edge(made=nodes[made], source=nodes[source], role=role, path=ways[made, source]) for made, source, role in lines
    )
    return Drawing(
        nodes=tuple(nodes.values()),
        edges=tuple(edges),
        width=width + 2 * MARGIN,
        height=len(rows) * (NODE_HEIGHT + ROW_GAP) - ROW_GAP + 2 * MARGIN,
        is_cut=is_cut,
    )


def _width(row: Sequence[Place]) -> float:
    return sum(BEND_WIDTH if bend is not None else NODE_WIDTH for _, bend in row) + GAP * (len(row) - 1)


def _path(middles: Sequence[tuple[float, float]]) -> str:
    """Return a line from the foot of the first box, straight past the rows between, to the head of the last."""
    drawn, (x, y) = [], middles[0]
    y += NODE_HEIGHT
    drawn.append(f"M{x:g} {y:g}")
    for next_x, next_y in middles[1:]:
        bend = (next_y - y) / 2
        drawn.append(f"C{x:g} {y + bend:g} {next_x:g} {next_y - bend:g} {next_x:g} {next_y:g}")
        x, y = next_x, next_y
        if (next_x, next_y) != middles[-1]:
            y += NODE_HEIGHT
            drawn.append(f"V{y:g}")
    return "".join(drawn)


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


def _rows(root: str, lines: list[tuple[str, str, str]]) -> tuple[list[list[Place]], dict[tuple[str, str], list[Place]]]:
    """Return what stands in each row, in order, and the way of each line through the rows.

    A box is below all that was made from it. Lines to one box share the bends by which they pass the rows above it.
    """
    depth = _depths(root, lines)
    rows: list[list[Place]] = [[] for _ in range(max(depth.values()) + 1)]
    for key, level in depth.items():
        rows[level].append((key, None))
    routes: dict[tuple[str, str], list[Place]] = {}
    for made, source, _ in lines:
        bends = [(source, level) for level in range(depth[made] + 1, depth[source])]
        routes[made, source] = [(made, None), *bends, (source, None)]
        for bend in bends:
            if bend not in rows[bend[1]]:
                rows[bend[1]].append(bend)
    above: dict[Place, list[Place]] = {}
    for route in routes.values():
        for upper, lower in pairwise(route):
            above.setdefault(lower, []).append(upper)
    share: dict[Place, float] = {(root, None): 0.5}
    for row in rows[1:]:
        row.sort(key=lambda one: (sum(share[of] for of in above[one]) / len(above[one]), one[0]))
        share.update({one: (index + 0.5) / len(row) for index, one in enumerate(row)})
    return rows, routes


def _depths(root: str, lines: list[tuple[str, str, str]]) -> dict[str, int]:
    """Return each key's row: the longest way from the root."""
    depth, changed = {root: 0}, True
    while changed:
        changed = False
        for made, source, _ in lines:
            if made in depth and depth.get(source, -1) <= depth[made]:
                depth[source] = depth[made] + 1
                changed = True
    return depth


def _note(manifest: Manifest) -> str:
    """Return what tells a manifest from others of its stage, and how many files that arrived it was made of."""
    outside = sum(item.manifest is None for item in manifest.inputs)
    files = f", {outside} file{'' if outside == 1 else 's'}" if outside else ""
    return _distinction(manifest) + files


def _distinction(manifest: Manifest) -> str:
    facts: Mapping[str, object] = manifest.facts
    for name in ("version", "verdict", "day", "chosen", "score", "outcome"):
        if isinstance(value := facts.get(name, manifest.spec.get(name)), str | int | float):
            return f"{value:.4f}" if isinstance(value, float) else str(value)[:24]
    return manifest.digest[:12]
