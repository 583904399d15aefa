"""Training loops: rows 45 to 49 of the catalogue and their kin, and loops that only look wrong."""

from engine.doctor.contracts import Previous
from tests.faults.loop_case import loop_fault, loop_legitimate

OPTIMIZER = "torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)"
MADE = f"    optimizer = {OPTIMIZER}\n"
LOADER = "DataLoader(Shapes(), batch_size=8, shuffle=True)"
WATCHED = "    run = watch(model, optimizer, loader)  # noqa: F841\n"
FORWARD = "            pred = model(images)\n            losses = losses_of(pred, boxes)\n"
ZERO = "            optimizer.zero_grad()\n"
BACKWARD = '            losses["total"].backward()\n'
STEP = "            optimizer.step()\n            step += 1\n"
TRAIN = "        model.train()\n"
VALIDATE = "        validate(model, loader)\n"
TOP = "def train(watch, steps=40):\n"
SEEDED = (
    "    def __len__(self):\n",
    "        self.rng = np.random.default_rng(0)\n\n    def __len__(self):\n",
)
WORKERS = (LOADER, "DataLoader(Shapes(), batch_size=8, shuffle=True, num_workers=2)")
SEED_ALL = (
    LOADER,
    "DataLoader(Shapes(), batch_size=8, shuffle=True, num_workers=2, worker_init_fn=seed_worker)",
)

ROW_45 = [
    loop_fault(
        "loop-worker-init-constant",
        "every worker is seeded with the same number",
        SEED_ALL,
        (TOP, "def seed_worker(worker):\n    np.random.seed(42)\n\n\n" + TOP),
        to="data",
        row=45,
        with_loader=True,
        steps=5,
    ),
    loop_fault(
        "loop-worker-own-generator",
        "the data set's own generator is copied into each worker",
        SEEDED,
        WORKERS,
        ("if np.random.rand() < 0.5", "if self.rng.random() < 0.5"),
        ("np.random.uniform(0.7, 1.2)", "self.rng.uniform(0.7, 1.2)"),
        to="data",
        row=45,
        with_loader=True,
        steps=5,
    ),
    loop_fault(
        "loop-batches-twice",
        "two workers draw the same samples: seen from the batches alone",
        (
            "        for images, boxes in loader:\n            # place 0",
            "        for images, boxes in (b for b in loader for _ in range(2)):\n            # place 0",
        ),
        to="data",
        row=45,
        expected="warning",
    ),
]

ROW_46 = [
    loop_fault("loop-rate-too-high", "lr 20", ("lr=0.01", "lr=20.0"), to="optimizer", row=46),
    loop_fault(
        "loop-rate-too-high-adam",
        "Adam at lr 3",
        (OPTIMIZER, "torch.optim.Adam(model.parameters(), lr=3.0)"),
        to="optimizer",
        row=46,
        expected="warning",
    ),
    loop_fault(
        "loop-warmup-again",
        "resumed, and the warm-up begins again",
        (
            WATCHED,
            WATCHED
            + "    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1, (k + 1) / 100))\n",
        ),
        (STEP, STEP + "            warm.step()\n"),
        to="optimizer",
        row=46,
        expected="warning",
        previous=Previous(4000, 0.01),
    ),
    loop_fault(
        "loop-decay-lost",
        "resumed at the first rate instead of the decayed one",
        to="optimizer",
        row=46,
        expected="warning",
        previous=Previous(9000, 0.0001),
    ),
    loop_fault(
        "loop-scheduler-first",
        "the scheduler is stepped above the optimizer",
        (MADE, MADE + "    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)\n"),
        (STEP, "            decay.step()\n" + STEP),
        to="optimizer",
        row=46,
        expected="warning",
    ),
]

ROW_47 = [
    loop_fault("loop-no-zero-grad", "zero_grad left out", (ZERO, ""), to="loop", row=47),
    loop_fault(
        "loop-zero-grad-once",
        "zero_grad stands above the epochs",
        (ZERO, ""),
        (TRAIN, "        optimizer.zero_grad()\n" + TRAIN),
        to="loop",
        row=47,
    ),
    loop_fault(
        "loop-zero-grad-of-another",
        "zero_grad of an optimizer that holds only the head",
        (MADE, MADE + "    other = torch.optim.SGD(model.head.parameters(), lr=0.01)\n"),
        (ZERO, "            other.zero_grad()\n"),
        to="loop",
        row=47,
    ),
    loop_fault(
        "loop-zero-grad-clipped",
        "left out, with the norm clipped each step",
        (ZERO, ""),
        (STEP, "            nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n" + STEP),
        to="loop",
        row=47,
    ),
    loop_fault(
        "loop-zeroed-before-step",
        "zero_grad between backward and step",
        (ZERO, ""),
        (BACKWARD, BACKWARD + ZERO),
        to="loop",
    ),
    loop_fault("loop-no-step", "optimizer.step left out", (STEP, "            step += 1\n"), to="optimizer"),
    loop_fault(
        "loop-detached",
        "the loss is rebuilt from numbers, so backward reaches nothing",
        (
            BACKWARD,
            '            torch.tensor(losses["total"].item(), requires_grad=True).backward()\n',
        ),
        to="loop",
    ),
    loop_fault(
        "loop-nan",
        "a gradient that is not a number goes into the weights",
        (BACKWARD, '            (losses["total"] + 0 * (pred[..., 3] * 0).sqrt().sum()).backward()\n'),
        to=("loss", "loop"),
    ),
]

ROW_48 = [
    loop_fault(
        "loop-head-missing",
        "the optimizer holds all but the head",
        ("model.parameters()", "[*model.backbone.parameters(), *model.neck.parameters()]"),
        to="optimizer",
        row=48,
    ),
    loop_fault(
        "loop-norms-missing",
        "only weights of convolutions made it into the groups",
        ("model.parameters()", "[p for p in model.parameters() if p.ndim > 1]"),
        to="optimizer",
        row=48,
    ),
    loop_fault(
        "loop-head-replaced",
        "the head is replaced after the optimizer was made",
        (MADE, MADE + "    model.head = nn.Conv2d(24, 5 + CLASSES, 1)\n"),
        to="optimizer",
        row=48,
    ),
    loop_fault(
        "loop-model-rebuilt",
        "the model is built again after the optimizer was made",
        (MADE, MADE + "    model = Detector()\n"),
        to="optimizer",
        row=48,
    ),
    loop_fault(
        "loop-steps-undone",
        "weights are put back before each step",
        (WATCHED, WATCHED + "    kept = {k: v.clone() for k, v in model.state_dict().items()}\n"),
        (FORWARD, "            model.load_state_dict(kept)\n" + FORWARD),
        to="loop",
        row=48,
    ),
    loop_fault(
        "loop-twice",
        "the head stands in two groups",
        (
            MADE,
            MADE + '    optimizer.param_groups.append({**optimizer.param_groups[0], "params": '
            "list(model.head.parameters())})\n",
        ),
        to="optimizer",
        row=48,
    ),
    loop_fault(
        "loop-cut",
        "the features are detached before the neck",
        ("self.neck(features)", "self.neck(features.detach())"),
        to="loop",
        row=48,
        expected="warning",
    ),
]

ROW_49 = [
    loop_fault(
        "loop-eval-always",
        "model.train() is never called, model.eval() is",
        (TRAIN, "        model.eval()\n"),
        to="loop",
        row=49,
    ),
    loop_fault(
        "loop-eval-after-validation",
        "model.train() stands above the epochs: from the second on it is eval mode",
        (TRAIN, ""),
        (WATCHED, WATCHED + "    model.train()\n"),
        to="loop",
        row=49,
    ),
    loop_fault(
        "loop-norm-poisoned",
        "one batch with infinities goes through the batch norms in train mode, its step left out",
        (WATCHED, WATCHED + "    model.train()\n    model(torch.full((2, 3, SIZE, SIZE), 1e38))\n"),
        to="loop",
        row=49,
    ),
    loop_fault(
        "loop-validates-in-train-mode",
        "validation, after every step, without eval mode",
        ("    model.eval()\n", ""),
        (VALIDATE, ""),
        (STEP, STEP + "            validate(model, loader)\n"),
        to="loop",
        row=49,
        expected="warning",
    ),
    loop_fault(
        "loop-norm-momentum-zero",
        "batch norms whose statistics never follow",
        ("nn.BatchNorm2d(gives)", "nn.BatchNorm2d(gives, momentum=0.0)"),
        to="loop",
        row=49,
        expected="warning",
    ),
]

GATHER = """            (losses["total"] / 4).backward()
"""
EVERY_FOURTH = """            step += 1
            if step % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
"""
LION = """class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                held = self.state[p].setdefault("m", torch.zeros_like(p))
                p.add_((0.9 * held + 0.1 * p.grad).sign(), alpha=-group["lr"])
                held.mul_(0.99).add_(p.grad, alpha=0.01)


"""
SAM = """class SAM(torch.optim.Optimizer):
    def __init__(self, params, rho=0.05, **more):
        super().__init__(params, {"rho": rho, **more})
        self.base_optimizer = torch.optim.SGD(self.param_groups, **more)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self):
        held = [p for g in self.param_groups for p in g["params"]]
        norm = torch.stack([p.grad.norm() for p in held]).norm()
        for p in held:
            self.state[p]["old"] = p.data.clone()
            p.add_(p.grad, alpha=0.05 / (float(norm) + 1e-12))
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for g in self.param_groups:
            for p in g["params"]:
                p.data = self.state[p]["old"]
        self.base_optimizer.step()
        self.zero_grad()


"""
LOOKAHEAD = """class Lookahead:
    def __init__(self, inner, k=5):
        self.inner, self.k, self.count = inner, k, 0
        self.param_groups = inner.param_groups
        self.slow = [p.detach().clone() for g in inner.param_groups for p in g["params"]]

    def zero_grad(self):
        self.inner.zero_grad()

    def step(self):
        self.inner.step()
        self.count += 1
        if self.count % self.k == 0:
            fast = [p for g in self.inner.param_groups for p in g["params"]]
            for p, slow in zip(fast, self.slow):
                slow.lerp_(p.detach(), 0.5)
                p.data.copy_(slow)


"""

LEGITIMATE = [
    loop_legitimate("loop-plain", "nothing unusual"),
    loop_legitimate(
        "loop-gathers",
        "gradients of four batches make one step",
        (ZERO, ""),
        (BACKWARD, GATHER),
        (STEP, EVERY_FOURTH),
        steps=80,
    ),
    loop_legitimate(
        "loop-kept-zeros",
        "set_to_none=False",
        ("optimizer.zero_grad()", "optimizer.zero_grad(set_to_none=False)"),
    ),
    loop_legitimate(
        "loop-zero-grad-last",
        "gradients zeroed by hand after the step",
        (ZERO, ""),
        (STEP, STEP + "            for p in model.parameters():\n                p.grad = None\n"),
    ),
    loop_legitimate(
        "loop-clipped",
        "norm clipped",
        (STEP, "            nn.utils.clip_grad_norm_(model.parameters(), 0.5)\n" + STEP),
    ),
    loop_legitimate(
        "loop-scaler-skips",
        "a scaler that begins too high leaves the first steps out",
        (WATCHED, '    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)\n' + WATCHED),
        (BACKWARD, '            scaler.scale(losses["total"]).backward()\n'),
        (STEP, "            scaler.step(optimizer)\n            scaler.update()\n            step += 1\n"),
    ),
    loop_legitimate(
        "loop-autocast",
        "bf16 where it is safe",
        (
            FORWARD,
            '            with torch.autocast("cpu", torch.bfloat16):\n'
            "                pred = model(images).float()\n"
            "            losses = losses_of(pred, boxes)\n",
        ),
    ),
    loop_legitimate(
        "loop-frozen-backbone",
        "requires_grad off, its norms in eval mode",
        (
            MADE,
            "    model.backbone.requires_grad_(False)\n"
            "    validate_norms = torch.rand(16, 3, SIZE, SIZE)\n    model.train()(validate_norms)\n" + MADE,
        ),
        (TRAIN, TRAIN + "        model.backbone.eval()\n"),
        ("model.parameters()", "[p for p in model.parameters() if p.requires_grad]"),
    ),
    loop_legitimate(
        "loop-frozen-all-given",
        "requires_grad off, and the optimizer is given everything",
        (MADE, "    model.backbone.requires_grad_(False)\n" + MADE),
    ),
    loop_legitimate(
        "loop-groups",
        "two groups of different rates and no decay on norms",
        (
            OPTIMIZER,
            'torch.optim.SGD([{"params": [p for p in model.parameters() if p.ndim > 1]}, {"params": '
            '[p for p in model.parameters() if p.ndim < 2], "weight_decay": 0, "lr": 0.02}], lr=0.01, '
            "weight_decay=5e-4)",
        ),
    ),
    loop_legitimate(
        "loop-two-optimizers",
        "one for the backbone, one for the rest; the judge knows both",
        (
            MADE,
            "    first = torch.optim.SGD(model.backbone.parameters(), lr=0.01)\n    optimizer = "
            "torch.optim.Adam([*model.neck.parameters(), *model.head.parameters()], lr=1e-3)\n",
        ),
        (WATCHED, "    run = watch(model, [first, optimizer], loader)\n"),
        (ZERO, "            first.zero_grad()\n" + ZERO),
        (STEP, "            first.step()\n" + STEP),
    ),
    loop_legitimate(
        "loop-other-optimizer",
        "one for the backbone, one for the rest; the judge knows one",
        (
            MADE,
            "    first = torch.optim.SGD(model.backbone.parameters(), lr=0.01)\n    optimizer = "
            "torch.optim.Adam([*model.neck.parameters(), *model.head.parameters()], lr=1e-3)\n",
        ),
        (ZERO, "            first.zero_grad()\n" + ZERO),
        (STEP, "            first.step()\n" + STEP),
    ),
    loop_legitimate(
        "loop-averaged",
        "validates with averaged weights swapped in",
        (
            WATCHED,
            "    mean = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn="
            "torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))\n" + WATCHED,
        ),
        (STEP, STEP + "            mean.update_parameters(model)\n"),
        (
            VALIDATE,
            "        kept = {k: v.clone() for k, v in model.state_dict().items()}\n"
            "        model.load_state_dict(mean.module.state_dict())\n"
            "        validate(model, loader)\n        model.load_state_dict(kept)\n",
        ),
    ),
    loop_legitimate(
        "loop-rate-finder",
        "the rate grows tenfold in ten steps until it is too high",
        ("lr=0.01", "lr=1e-6"),
        (STEP, STEP + '            optimizer.param_groups[0]["lr"] *= 1.3\n'),
        steps=60,
    ),
    loop_legitimate(
        "loop-cyclic",
        "rates that go up and down",
        (
            WATCHED,
            "    cycle = torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-4, 0.02, step_size_up=5)\n"
            + WATCHED,
        ),
        (STEP, STEP + "            cycle.step()\n"),
    ),
    loop_legitimate(
        "loop-burn-in",
        "Darknet's: the first rate is zero",
        (
            WATCHED,
            "    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1, k / 30) ** 4)\n"
            + WATCHED,
        ),
        (STEP, STEP + "            warm.step()\n"),
    ),
    loop_legitimate(
        "loop-sam",
        "two backward passes make one step",
        (TOP, SAM + TOP),
        (OPTIMIZER, "SAM(model.parameters(), lr=0.01)"),
        (
            STEP,
            "            optimizer.first_step()\n            losses_of("
            'model(images), boxes)["total"].backward()\n'
            "            optimizer.second_step()\n            step += 1\n",
        ),
    ),
    loop_legitimate(
        "loop-lion",
        "an optimizer of somebody's own",
        (TOP, LION + TOP),
        (OPTIMIZER, "Lion(model.parameters(), 1e-3)"),
    ),
    loop_legitimate(
        "loop-lookahead",
        "a wrapper that is no torch optimizer",
        (TOP, LOOKAHEAD + TOP),
        (OPTIMIZER, f"Lookahead({OPTIMIZER})"),
    ),
    loop_legitimate("loop-sgd-bare", "no momentum", (", momentum=0.9", "")),
    loop_legitimate("loop-adamw", "AdamW", (OPTIMIZER, "torch.optim.AdamW(model.parameters(), lr=1e-3)")),
    loop_legitimate(
        "loop-lbfgs",
        "a step that runs the loss many times itself",
        (OPTIMIZER, "torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)"),
        (ZERO + "            # place 1\n" + BACKWARD, "            # place 1\n"),
        (
            STEP,
            "            def again():\n                optimizer.zero_grad()\n"
            '                value = losses_of(model(images), boxes)["total"]\n'
            "                value.backward()\n                return value\n\n"
            "            optimizer.step(again)\n            step += 1\n",
        ),
    ),
    loop_legitimate(
        "loop-tied",
        "one convolution used twice",
        ("self.head(self.neck(features))", "self.head(self.neck(self.neck(features)))"),
    ),
    loop_legitimate(
        "loop-spare-layer",
        "a classifier that nobody uses",
        (
            "        self.head = nn.Conv2d(24, 5 + CLASSES, 1)\n",
            "        self.head = nn.Conv2d(24, 5 + CLASSES, 1)\n"
            "        self.classifier = nn.Linear(24, 1000)\n",
        ),
    ),
    loop_legitimate(
        "loop-one-batch",
        "overfits one batch on purpose",
        (
            "        for images, boxes in loader:\n            # place 0",
            "        for images, boxes in [next(iter(loader))] * 8:\n            # place 0",
        ),
    ),
    loop_legitimate(
        "loop-learnt-weights",
        "the loss has parameters of its own",
        (MADE, "    scales = nn.Parameter(torch.zeros(3))\n" + MADE),
        ("model.parameters()", "[*model.parameters(), scales]"),
        (BACKWARD, '            (losses["total"] * torch.exp(-scales[0]) + scales.sum()).backward()\n'),
    ),
    loop_legitimate(
        "loop-norms-eval",
        "batch norms with measured statistics kept in eval mode",
        (WATCHED, "    model.train()(torch.rand(16, 3, SIZE, SIZE))\n" + WATCHED),
        (
            TRAIN,
            TRAIN + "        for m in model.modules():\n            if isinstance(m, nn.BatchNorm2d):\n"
            "                m.eval()\n",
        ),
    ),
    loop_legitimate("loop-workers", "two workers, torch's own seeds", WORKERS, with_loader=True, steps=5),
    loop_legitimate(
        "loop-workers-seeded",
        "each worker seeded by its number",
        SEED_ALL,
        (TOP, "def seed_worker(worker):\n    np.random.seed(torch.initial_seed() % 2**32)\n\n\n" + TOP),
        with_loader=True,
        steps=5,
    ),
    loop_legitimate(
        "loop-resumed",
        "resumed as it was left",
        (
            WATCHED,
            WATCHED + "    for p in model.parameters():\n"
            '        optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)\n',
        ),
        previous=Previous(4000, 0.01),
    ),
]

CASES = [*ROW_45, *ROW_46, *ROW_47, *ROW_48, *ROW_49, *LEGITIMATE]
