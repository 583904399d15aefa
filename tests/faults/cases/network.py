"""Faults of ``build_model``."""

from tests.faults.case import fault

CASES = [
    fault(
        "network-view-without-permute",
        "looped",
        "the axes are renamed, not moved",
        (
            "return out.view(n, self.num_anchors, -1, h, w).permute(0, 3, 4, 1, 2)",
            "return out.reshape(n, h, w, self.num_anchors, -1)",
        ),
        to="build_model",
        row=50,
    ),
    fault(
        "network-transposed-grid",
        "looped",
        "rows and columns change places in the reshape",
        (
            "return out.view(n, self.num_anchors, -1, h, w).permute(0, 3, 4, 1, 2)",
            "out = out.view(n, self.num_anchors, -1, h, w).permute(0, 4, 3, 1, 2)\n"
            "        return out.reshape(n, h, w, self.num_anchors, -1)",
        ),
        to="build_model",
        row=50,
    ),
    fault(
        "network-mirrored",
        "vectorised",
        "the grid comes out mirrored",
        ("raw = raw.permute(0, 2, 3, 1).contiguous()", "raw = raw.permute(0, 2, 3, 1).flip(2).contiguous()"),
        to="build_model",
    ),
    fault(
        "network-cut",
        "vectorised",
        "the body is cut off from the gradient",
        (
            "raw = self.head(self.blocks(images * 2 - 1))",
            "raw = self.head(self.blocks(images * 2 - 1).detach())",
        ),
        to="build_model",
    ),
    fault(
        "network-without-images",
        "vectorised",
        "the picture does not reach the output",
        ("raw = self.head(self.blocks(images * 2 - 1))", "raw = self.head(self.blocks(images * 0))"),
        to="build_model",
    ),
    fault(
        "network-one-class-short",
        "darknet",
        "room for one class too few",
        ("head.anchors.shape[0] * (5 + len(classes))", "head.anchors.shape[0] * (4 + len(classes))"),
        to="build_model",
    ),
    fault(
        "network-other-stride",
        "darknet",
        "one stage too few",
        ("n_down = int(math.log2(head.stride))", "n_down = int(math.log2(head.stride)) - 1"),
        to="build_model",
    ),
    fault(
        "network-heads-swapped",
        "twoheads",
        "the coarse head comes first",
        ("return [found[s] for s in self.shapes]", "return [found[s] for s in reversed(self.shapes)]"),
        to="build_model",
    ),
    fault(
        "network-batch-mixed",
        "looped",
        "the images of a batch are averaged",
        (
            "out = self.out(self.body(x))",
            "out = self.out(self.body(x).mean(0, keepdim=True).expand(len(x), -1, -1, -1))",
        ),
        to="build_model",
    ),
    fault(
        "network-class-not-instance",
        "looped",
        "returns a function",
        ("    return Net(head, len(classes))", "    return lambda images: Net(head, len(classes))(images)"),
        to="build_model",
    ),
    fault(
        "network-count-for-names",
        "looped",
        "takes the names for a count",
        ("    return Net(head, len(classes))", "    return Net(head, classes)"),
        to="build_model",
    ),
    fault(
        "network-layers-in-a-list",
        "looped",
        "the body is a plain list: its layers are not the module's",
        ("self.body = nn.Sequential(*layers)", "self.body = layers"),
        (
            "out = self.out(self.body(x))",
            "for layer in self.body:\n            x = layer(x)\n        out = self.out(x)",
        ),
        to="build_model",
    ),
    fault(
        "network-heads-in-a-dict",
        "twoheads",
        "the heads stand in a plain dict",
        ("self.outs = torch.nn.ModuleDict()", "self.outs = {}"),
        to="build_model",
    ),
    fault(
        "network-attention-over-the-batch",
        "looped",
        "attention that takes the batch for the sequence, next to nothing at first",
        (
            "out = self.out(self.body(x))",
            "out = self.body(x)\n"
            "        flat = out.flatten(2).permute(0, 2, 1)\n"
            "        out = out + 1e-4 * (flat.transpose(0, 1) @ flat.permute(1, 2, 0)).softmax(-1).matmul(\n"
            "            flat.transpose(0, 1)).permute(1, 2, 0).view_as(out)\n"
            "        out = self.out(out)",
        ),
        to="build_model",
    ),
]
