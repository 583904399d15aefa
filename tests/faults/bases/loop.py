"""A training loop as people write it: a small detector of one head, a data set that augments, plain torch."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIZE, GRID, CLASSES = 64, 8, 3


class Shapes(Dataset):
    """Bright rectangles on grey, one a picture."""

    def __init__(self, count=40):
        rng = np.random.default_rng(7)
        self.pictures = rng.integers(60, 110, (count, SIZE, SIZE, 3)).astype(np.float32)
        self.boxes = np.zeros((count, 5), np.float32)
        for picture, box in zip(self.pictures, self.boxes, strict=True):
            w, h = rng.integers(12, 40, 2)
            x, y, kind = rng.integers(0, SIZE - w), rng.integers(0, SIZE - h), rng.integers(CLASSES)
            picture[y : y + h, x : x + w, kind] = 230
            box[:] = (x + w / 2) / SIZE, (y + h / 2) / SIZE, w / SIZE, h / SIZE, kind

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, k):
        picture, box = self.pictures[k].copy(), self.boxes[k].copy()
        if np.random.rand() < 0.5:
            picture, box[0] = picture[:, ::-1].copy(), 1 - box[0]
        picture = (picture * np.random.uniform(0.7, 1.2)).clip(0, 255)
        return torch.from_numpy(picture).permute(2, 0, 1) / 255, torch.from_numpy(box)


def block(fed, gives, stride=2):
    return nn.Sequential(
        nn.Conv2d(fed, gives, 3, stride, 1, bias=False), nn.BatchNorm2d(gives), nn.LeakyReLU(0.1)
    )


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(block(3, 8), block(8, 16), block(16, 24))
        self.neck = nn.Sequential(block(24, 24, 1), nn.Dropout2d(0.1))
        self.head = nn.Conv2d(24, 5 + CLASSES, 1)

    def forward(self, images):
        features = self.backbone(images)
        return self.head(self.neck(features)).permute(0, 2, 3, 1)


def losses_of(pred, boxes):
    rows = torch.arange(len(boxes))
    gx, gy = (boxes[:, 0] * GRID).long().clamp(max=GRID - 1), (boxes[:, 1] * GRID).long().clamp(max=GRID - 1)
    own = pred[rows, gy, gx]
    offset = boxes[:, :2] * GRID - torch.stack((gx, gy), 1)
    lbox = ((own[:, 1:3].sigmoid() - offset) ** 2).sum() + ((own[:, 3:5] - boxes[:, 2:4].log()) ** 2).sum()
    target = torch.zeros_like(pred[..., 0])
    target[rows, gy, gx] = 1
    lobj = nn.functional.binary_cross_entropy_with_logits(pred[..., 0], target, reduction="sum")
    lcls = nn.functional.cross_entropy(own[:, 5:], boxes[:, 4].long(), reduction="sum")
    lbox, lobj, lcls = (each / len(boxes) for each in (lbox, lobj, lcls))
    return {"lbox": lbox, "lobj": lobj, "lcls": lcls, "total": lbox + lobj + lcls}


def validate(model, loader):
    model.eval()
    with torch.no_grad():
        for images, boxes in loader:
            losses_of(model(images), boxes)


def train(watch, steps=40):
    """``watch(model, optimizer, loader)`` gives what is called once an iteration."""
    model = Detector()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(Shapes(), batch_size=8, shuffle=True)
    run = watch(model, optimizer, loader)  # noqa: F841
    step = 0
    while step < steps:
        model.train()
        for images, boxes in loader:
            # place 0
            pred = model(images)
            losses = losses_of(pred, boxes)
            optimizer.zero_grad()
            # place 1
            losses["total"].backward()
            # place 2
            optimizer.step()
            step += 1
            # place 3
        validate(model, loader)
