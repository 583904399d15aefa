# ruff: noqa: E501  (what is replaced stands as it stands in the file)
"""Faults of ``assign``."""

from tests.faults.case import fault

CASES = [
    fault(
        "assign-ignore-erases",
        "looped",
        "every anchor of the cell over .5 is blanked before a truth is written",
        (
            "            slot = targets[b, gy, gx, best]\n",
            "            for k, (aw, ah) in enumerate(anchors):\n"
            "                if anchor_overlap(w * head.grid_w, h * head.grid_h, aw, ah) > 0.25:\n"
            "                    targets[b, gy, gx, k] = 0  # neither positive nor negative\n"
            "            slot = targets[b, gy, gx, best]\n",
        ),
        to="assign",
        channels="mask",
        overlap=True,
        row=17,
    ),
    fault(
        "assign-xy-index",
        "looped",
        "targets[b, gx, gy]",
        ("slot = targets[b, gy, gx, best]", "slot = targets[b, gx, gy, best]"),
        to="assign",
        row=27,
    ),
    fault(
        "assign-flat-index-by-height",
        "vectorised",
        "column * height + row: right on no grid, raises on none",
        (
            "        out[image, row, col, best] = rows\n",
            "        out.view(len(boxes), -1, len(anchors), 8)[image, col * head.grid_h + row, best] = rows\n",
        ),
        to="assign",
        row=27,
    ),
    fault(
        "assign-not-clamped",
        "looped",
        "a centre at 1.0 runs over the edge",
        ("gx = min(int(cx * head.grid_w), head.grid_w - 1)", "gx = int(cx * head.grid_w)"),
        ("gy = min(int(cy * head.grid_h), head.grid_h - 1)", "gy = int(cy * head.grid_h)"),
        to="assign",
        row=30,
    ),
    fault(
        "assign-edge-wraps",
        "vectorised",
        "a centre at 1.0 goes to cell 0",
        (
            "col, row = col.clamp(0, head.grid_w - 1), row.clamp(0, head.grid_h - 1)",
            "col, row = col % head.grid_w, row % head.grid_h",
        ),
        to="assign",
        row=30,
    ),
    fault(
        "assign-thinks-pixels",
        "looped",
        "divides by the input's size what is 0..1 already",
        (
            "            cx, cy, w, h = box\n",
            "            cx, cy = box[0] / head.input_w, box[1] / head.input_h\n"
            "            w, h = box[2] / head.input_w, box[3] / head.input_h\n",
        ),
        to="assign",
        channels="x y w h",
        overlap=True,
        row=31,
    ),
    fault(
        "assign-writes-pixels",
        "vectorised",
        "the slot's box is in pixels of the input",
        (
            "rows = torch.stack((ones, cls.to(weight), *xywh.unbind(1),",
            "rows = torch.stack((ones, cls.to(weight), *(xywh * size.repeat(2) * head.stride).unbind(1),",
        ),
        to="assign",
        channels="x y w h",
        row=31,
    ),
    fault(
        "assign-anchors-in-pixels",
        "looped",
        "truths in pixels are compared with anchors in cells",
        (
            "anchor_overlap(w * head.grid_w, h * head.grid_h, aw, ah)",
            "anchor_overlap(w * head.input_w, h * head.input_h, aw, ah)",
        ),
        to="assign",
        row=32,
    ),
    fault(
        "assign-half-overwritten",
        "looped",
        "a taken slot keeps its box and takes the later truth's class",
        (
            "            slot[2:6] = torch.tensor([cx, cy, w, h])\n",
            "            if slot[4] == 0:\n                slot[2:6] = torch.tensor([cx, cy, w, h])\n",
        ),
        to="assign",
        channels="class x y w h",
        overlap=True,
    ),
    fault(
        "assign-duplicates-without-cell",
        "vectorised",
        "one truth an anchor and image stays, whatever its cell",
        (
            "        out[image, row, col, best] = rows\n",
            "        seen = set()\n"
            "        for k in range(len(rows)):\n"
            "            if int(best[k]) in seen:\n"
            "                continue\n"
            "            seen.add(int(best[k]))\n"
            "            out[image, row[k], col[k], best[k]] = rows[k]\n",
        ),
        to="assign",
        channels="mask",
        overlap=True,
        row=36,
    ),
    fault(
        "assign-class-plus-1",
        "looped",
        "a background class is counted that is not there",
        ("slot[1] = label", "slot[1] = label + 1"),
        to="assign",
        channels="class",
        row=37,
    ),
    fault(
        "assign-last-class-lost",
        "darknet",
        "class ids are clamped one too low",
        ("= int(labels[b][t])", "= min(int(labels[b][t]), head.classes - 2)"),
        to="assign",
        channels="class",
    ),
    fault(
        "assign-offset-in-cell",
        "looped",
        "x y inside the cell where image is declared",
        (
            "slot[2:6] = torch.tensor([cx, cy, w, h])",
            "slot[2:6] = torch.tensor([cx * head.grid_w - gx, cy * head.grid_h - gy, w, h])",
        ),
        to="assign",
        channels="x y",
    ),
    fault(
        "assign-offset-of-image",
        "darknet",
        "x y in cells of the image where cell is declared",
        ("target[b, a, TX, gj, gi] = gx - gi", "target[b, a, TX, gj, gi] = gx"),
        ("target[b, a, TY, gj, gi] = gy - gj", "target[b, a, TY, gj, gi] = gy"),
        to="assign",
        channels="x y",
    ),
    fault(
        "assign-wh-in-cells",
        "vectorised",
        "w h in grid units where image is declared",
        (
            "rows = torch.stack((ones, cls.to(weight), *xywh.unbind(1),",
            "rows = torch.stack((ones, cls.to(weight), *xywh[:, :2].unbind(1), *wh.unbind(1),",
        ),
        to="assign",
        channels="w h",
    ),
    fault(
        "assign-log-without-anchor",
        "darknet",
        "log of the size in cells where log-anchor is declared",
        ("math.log(gw / anchors[a][0])", "math.log(gw)"),
        ("math.log(gh / anchors[a][1])", "math.log(gh)"),
        to="assign",
        channels="w h",
    ),
    fault(
        "assign-corner-for-centre",
        "looped",
        "x y of the upper left corner",
        (
            "slot[2:6] = torch.tensor([cx, cy, w, h])",
            "slot[2:6] = torch.tensor([cx - w / 2, cy - h / 2, w, h])",
        ),
        to="assign",
        channels="x y",
    ),
    fault(
        "assign-xy-written-swapped",
        "twoheads",
        "the slot holds cy, cx",
        ("torch.tensor([1.0, float(cls), cx, cy, w, h,", "torch.tensor([1.0, float(cls), cy, cx, w, h,"),
        to="assign",
        channels="x y",
    ),
    fault(
        "assign-box-one-off",
        "looped",
        "the box starts a channel too early and runs over the class",
        ("slot[2:6] = torch.tensor([cx, cy, w, h])", "slot[1:5] = torch.tensor([cx, cy, w, h])"),
        to="assign",
        channels="class x y w h",
        overlap=True,
    ),
    fault(
        "assign-weight-sign",
        "looped",
        "2 + w * h",
        ("slot[6] = 2 - w * h", "slot[6] = 2 + w * h"),
        to="assign",
        channels="weight",
    ),
    fault(
        "assign-all-in-first-image",
        "looped",
        "the image's index is left out",
        ("slot = targets[b, gy, gx, best]", "slot = targets[0, gy, gx, best]"),
        to="assign",
    ),
    fault(
        "assign-worst-anchor",
        "darknet",
        "argmin",
        ("int(np.argmax(wh_iou((gw, gh), anchors)))", "int(np.argmin(wh_iou((gw, gh), anchors)))"),
        to="assign",
    ),
    fault(
        "assign-anchor-sides-swapped",
        "darknet",
        "wh_iou is given (h, w)",
        ("wh_iou((gw, gh), anchors)", "wh_iou((gh, gw), anchors)"),
        to="assign",
    ),
    fault(
        "assign-nearest-corner",
        "vectorised",
        "round for floor",
        ("(xywh[:, :2] * size).floor().long().unbind(1)", "(xywh[:, :2] * size).round().long().unbind(1)"),
        to="assign",
    ),
    fault(
        "assign-neighbours-shifted",
        "twoheads",
        "a neighbour's slot holds the truth moved into that cell",
        (
            "                            targets[i][b, j, k, a] = row\n",
            "                            moved = row.clone()\n"
            "                            moved[2] = (k + cx * grid.w % 1) / grid.w\n"
            "                            moved[3] = (j + cy * grid.h % 1) / grid.h\n"
            "                            targets[i][b, j, k, a] = moved\n",
        ),
        to="assign",
        channels="x y",
    ),
    fault(
        "assign-one-head-forgotten",
        "twoheads",
        "only the head of the best anchor's index 0 is filled",
        (
            "                for a, (aw, ah) in enumerate(grid.anchors.tolist()):\n",
            "                if i > 0:\n                    break\n"
            "                for a, (aw, ah) in enumerate(grid.anchors.tolist()):\n",
        ),
        to="assign",
    ),
    fault(
        "assign-heads-swapped",
        "twoheads",
        "the coarse head comes first",
        (
            "return [t.to(head[0].anchors.device) for t in targets]",
            "return [t.to(head[0].anchors.device) for t in targets[::-1]]",
        ),
        to="assign",
    ),
    fault(
        "assign-no-object",
        "darknet",
        "raises on an image without an object",
        (
            "        for t in range(boxes[b].shape[0]):\n",
            "        order = boxes[b][:, 2].max()  # widest first\n"
            "        for t in range(boxes[b].shape[0]):\n",
        ),
        to="assign",
    ),
    fault(
        "assign-scales-its-input",
        "vectorised",
        "the truths handed in are multiplied in place",
        ("        wh = xywh[:, 2:] * size\n", "        wh = xywh[:, 2:].mul_(size)\n"),
        to="assign",
        channels="w h",
        overlap=True,
    ),
    fault(
        "assign-arguments-swapped",
        "looped",
        "def assign(labels, boxes, head)",
        ("def assign(boxes, labels, head):", "def assign(labels, boxes, head):"),
        to="assign",
    ),
    fault(
        "assign-head-missing",
        "looped",
        "def assign(boxes, labels), head taken from nowhere",
        ("def assign(boxes, labels, head):\n", "def assign(boxes, labels):\n    head = CURRENT_HEAD\n"),
        to="assign",
    ),
    fault(
        "assign-seven-channels",
        "looped",
        "the iou channel is left out",
        ("len(anchors), 8, device=head.anchors.device", "len(anchors), 7, device=head.anchors.device"),
        to="assign",
    ),
    fault(
        "assign-neighbours-without-own-cell",
        "twoheads",
        "anchors that are merely within the ratio get the neighbours, not the cell of the centre",
        (
            "                        for j, k in cells_near(cx, cy, grid):\n",
            "                        for j, k in cells_near(cx, cy, grid)[winner != (i, a) :]:\n",
        ),
        to="assign",
        channels="mask",
    ),
    fault(
        "assign-no-neighbour-at-the-edge",
        "twoheads",
        "the first column and row are nobody's neighbours",
        ("    if 0 <= side < grid.w:", "    if 0 < side < grid.w:"),
        ("    if 0 <= side < grid.h:", "    if 0 < side < grid.h:"),
        to="assign",
        channels="mask",
    ),
    fault(
        "assign-stops-at-a-taken-slot",
        "looped",
        "the truths after a contested one are lost with it",
        (
            "            slot = targets[b, gy, gx, best]\n",
            "            slot = targets[b, gy, gx, best]\n            if slot[0] > 0:\n                break\n",
        ),
        to="assign",
        channels="mask",
    ),
    fault(
        "assign-returns-at-a-taken-slot",
        "looped",
        "the truths and images after a contested one are lost with it",
        (
            "            slot = targets[b, gy, gx, best]\n",
            "            slot = targets[b, gy, gx, best]\n"
            "            if slot[0] > 0:\n                return targets\n",
        ),
        to="assign",
        channels="mask",
    ),
]
