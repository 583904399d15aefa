"""A user's file that cannot serve at all."""

from tests.faults.case import CONTRACT, fault

ANY = (*CONTRACT, "config")

CASES = [
    fault(
        "file-syntax",
        "looped",
        "a bracket is missing",
        ("def keep_strongest(boxes, scores, threshold):", "def keep_strongest(boxes, scores, threshold:"),
        to=ANY,
    ),
    fault(
        "file-import",
        "looped",
        "imports what is not installed",
        ("import random\n", "import random\n\nimport utils_of_my_other_project\n"),
        to=ANY,
    ),
    fault(
        "file-name-error",
        "looped",
        "a name was mistyped inside decode",
        ("anchors * torch.exp(pbox[..., 2:4]) / scale", "anchor * torch.exp(pbox[..., 2:4]) / scale"),
        to="decode",
    ),
]
