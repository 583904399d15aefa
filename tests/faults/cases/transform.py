"""Faults of ``transform``."""

from tests.faults.case import fault

FLIP = (
    "        flipped = boxes.copy()\n"
    "        flipped[:, 0] = width - boxes[:, 2]\n"
    "        flipped[:, 2] = width - boxes[:, 0]\n"
    "        boxes = flipped\n"
)
BODY = "    return image, boxes\n\n\nclass Net"

CASES = [
    fault(
        "transform-boxes-not-flipped",
        "looped",
        "the picture is flipped, the boxes are not",
        (FLIP, ""),
        to="transform",
        channels="x",
        overlap=True,
        row=39,
    ),
    fault(
        "transform-corners-not-swapped",
        "looped",
        "x1 and x2 are mirrored, each in its place",
        ("flipped[:, 0] = width - boxes[:, 2]", "flipped[:, 0] = width - boxes[:, 0]"),
        ("flipped[:, 2] = width - boxes[:, 0]", "flipped[:, 2] = width - boxes[:, 2]"),
        to="transform",
        channels="x w",
        overlap=True,
        row=40,
    ),
    fault(
        "transform-flip-about-height",
        "looped",
        "mirrored about the picture's height",
        (
            "    height, width = image.shape[:2]\n    if random",
            "    width, height = image.shape[:2]\n    if random",
        ),
        to="transform",
        channels="x",
        overlap=True,
    ),
    fault(
        "transform-flips-the-other-axis",
        "looped",
        "the picture upside down, the boxes left to right",
        ("np.ascontiguousarray(image[:, ::-1])", "np.ascontiguousarray(image[::-1])"),
        to="transform",
        channels="x y",
        overlap=True,
    ),
    fault(
        "transform-letterbox-offset",
        "looped",
        "pads to a square, boxes are not moved",
        (
            BODY,
            "    side = max(height, width)\n"
            "    square = np.full((side, side, 3), 114, np.uint8)\n"
            "    top, left = (side - height) // 2, (side - width) // 2\n"
            "    square[top : top + height, left : left + width] = image\n"
            "    return square, boxes\n\n\nclass Net",
        ),
        to="transform",
        channels="x y",
        overlap=True,
        row=41,
        keep=("transform",),
    ),
    fault(
        "transform-rgb",
        "looped",
        "returns RGB",
        (BODY, "    return np.ascontiguousarray(image[:, :, ::-1]), boxes\n\n\nclass Net"),
        to="transform",
        row=42,
        keep=("transform",),
    ),
    fault(
        "transform-hsv-of-rgb",
        "darknet",
        "BGR at one end, RGB at the other of the colour jitter",
        (
            "cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)",
            "cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)",
        ),
        to="transform",
        row=42,
    ),
    fault(
        "transform-crop-clips-wrongly",
        "looped",
        "a crop whose boxes are clipped before they are moved",
        (
            BODY,
            "    left, top = int(width * random.uniform(0.1, 0.3)), int(height * random.uniform(0.1, 0.3))\n"
            "    image = np.ascontiguousarray(image[top:, left:])\n"
            "    boxes = boxes.copy()\n"
            "    boxes[:, 0::2] = boxes[:, 0::2].clip(0, image.shape[1]) - left\n"
            "    boxes[:, 1::2] = boxes[:, 1::2].clip(0, image.shape[0]) - top\n"
            "    return image, boxes\n\n\nclass Net",
        ),
        to="transform",
        channels="x y w h",
        overlap=True,
        row=43,
        keep=("transform",),
    ),
    fault(
        "transform-zoom-inverse",
        "vectorised",
        "the boxes are scaled by 1 / zoom",
        (
            "moved = boxes * zoom + np.array([left, top, left, top], boxes.dtype)",
            "moved = boxes / zoom + np.array([left, top, left, top], boxes.dtype)",
        ),
        to="transform",
        channels="x y w h",
        overlap=True,
    ),
    fault(
        "transform-zoom-about-corner",
        "vectorised",
        "the boxes are scaled about the corner, the picture about its middle",
        ("moved = boxes * zoom + np.array([left, top, left, top], boxes.dtype)", "moved = boxes * zoom"),
        to="transform",
        channels="x y w h",
        overlap=True,
    ),
    fault(
        "transform-drops-boxes",
        "vectorised",
        "boxes that leave the picture are left out",
        (
            "    return bright, moved.astype(boxes.dtype)",
            "    wide = (moved[:, 2] - moved[:, 0] > 24) & (moved[:, 3] - moved[:, 1] > 12)\n"
            "    return bright, moved[wide].astype(boxes.dtype)",
        ),
        to="transform",
    ),
    fault(
        "transform-sorts-boxes",
        "vectorised",
        "boxes come back sorted by area: their labels do not",
        (
            "    return bright, moved.astype(boxes.dtype)",
            "    area = (moved[:, 2] - moved[:, 0]) * (moved[:, 3] - moved[:, 1])\n"
            "    return bright, moved[np.argsort(-area)].astype(boxes.dtype)",
        ),
        to="transform",
    ),
    fault(
        "transform-float-image",
        "vectorised",
        "float32 in 0..1",
        (
            "    return bright, moved.astype(boxes.dtype)",
            "    return bright.astype(np.float32) / 255, moved.astype(boxes.dtype)",
        ),
        to="transform",
    ),
    fault(
        "transform-grey",
        "darknet",
        "one channel is lost",
        (
            "    return np.ascontiguousarray(image), boxes",
            "    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY), boxes",
        ),
        to="transform",
    ),
    fault(
        "transform-normalised-boxes",
        "vectorised",
        "boxes in 0..1",
        (
            "    return bright, moved.astype(boxes.dtype)",
            "    return bright, moved / np.array([width, height, width, height], moved.dtype)",
        ),
        to="transform",
        channels="x y w h",
        overlap=True,
    ),
    fault(
        "transform-in-place",
        "darknet",
        "the boxes handed in are flipped in place",
        ("    boxes = boxes.copy()\n", ""),
        to="transform",
        channels="x y",
        overlap=True,
    ),
    fault(
        "transform-image-alone",
        "looped",
        "returns the image alone",
        (BODY, "    return image\n\n\nclass Net"),
        to="transform",
        keep=("transform",),
    ),
    fault(
        "transform-clip-crossed",
        "numpyish",
        "x is clipped to the height and y to the width",
        (
            "    return image, boxes\n",
            "    height, width = image.shape[:2]\n"
            "    return image, np.clip(boxes, 0, np.array([height, width] * 2, boxes.dtype))\n",
        ),
        to="transform",
        channels="x y w h",
    ),
]
