"""From points in the order of the file to trainings: where one goes on, resumes, or begins anew.

- A place after the last one: the training goes on.
- A place before the last one: a restart. Back in the first epoch it is a new training, with a run of its
  own (its steps would overwrite the other's); back in the middle it is the same one, resumed: what is done
  again replaces what was there, as when this program resumes.
- A line that says that training starts, and no value after it before the next: a start that gave nothing. It
  counts as a restart as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .columns import median_rate
from .points import Point
from .roles import role
from .training import Epoch, Evaluation, Row, Training, add_mean

Observer = Callable[[Training, Point], None]


class Tracker:
    """``observe`` sees every point that is kept, its place filled in, in order."""

    def __init__(self, observe: Observer, same_place_restarts: bool = False) -> None:
        self.trainings: list[Training] = []
        self.restarts: list[int] = []
        """The lines at which a restart was seen."""
        self._observe = observe
        self._same_place_restarts = same_place_restarts
        self._pending: Point | None = None
        self._place: tuple[int, int] | None = None
        self._first_place: tuple[int, int] = (0, 0)
        self._starts = 0
        self._marked: int | None = None
        """The line of a start that no value followed so far."""
        self._early: list[Point] = []
        self._wrapped = 0
        self._resumed = False
        self._counted: set[int] = set()

    def take(self, point: Point) -> None:
        if point.begins:
            self._mark(point.line)
        elif point.phase == "evaluation":
            self._evaluate(point)
        else:
            self._train(point)

    def finish(self) -> None:
        if not self.trainings and self._early:
            # A log of evaluations alone: they are all there is to draw.
            early, self._early = self._early, []
            for point in early:
                point.phase = "train"
                self._train(point)
        self._flush()

    # starts

    def _mark(self, line: int) -> None:
        if self._marked is not None and line - self._marked < 30:
            return  # the same start said twice
        if self._starts:
            self.restarts.append(line)
        self._starts += 1
        self._marked = line

    def _begin(self, point: Point, place: tuple[int, int]) -> None:
        self._flush()
        if self.trainings and self._marked is None:
            self.restarts.append(point.line)
        self._starts = max(self._starts, 1)
        self.trainings.append(Training(len(self.trainings) + 1, point.line, lowest_epoch=max(0, place[0])))
        self.trainings[-1].lowest_iteration = place[1]
        self._first_place = place
        self._marked = None
        self._wrapped = 0

    def _resume(self, point: Point, place: tuple[int, int]) -> None:
        self._flush()
        training = self.trainings[-1]
        if self._marked is None:
            self.restarts.append(point.line)
        training.resumed_at.append(point.line)
        self._marked, self._resumed = None, True
        epochs = training.epochs
        while epochs and epochs[-1].epoch > place[0]:
            epochs.pop()
        if (
            epochs
            and epochs[-1].epoch == place[0]
            and (training.counts_epochs and place[1] <= epochs[-1].first_iteration)
        ):
            epochs.pop()
        if epochs:
            epochs[-1].closed = epochs[-1].closed and epochs[-1].epoch < place[0]
        training.evaluations = [e for e in training.evaluations if (e.epoch, e.iteration) < place]

    # points

    def _train(self, point: Point) -> None:
        place = self._settle(point)
        last = self._place if self.trainings else None
        if last is None:
            self._begin(point, place)
            self._attach_early()
        elif place == last and self._pending is not None:
            if self._merge(point, place):
                return
        elif place < last:
            if self._is_beginning(place):
                self._begin(point, place)
            else:
                self._resume(point, place)
        elif self._marked is not None and (place[0] > last[0] or place[1] > last[1]):
            self._resume(point, place)
        self._flush()
        self._pending, self._place = point, place
        training = self.trainings[-1]
        if last is not None and place[0] > last[0] and place > self._first_place and training.counts_epochs:
            if place[1] <= last[1]:
                training.resets = True
            elif point.position.iterations is None or place[1] > point.position.iterations:
                training.runs_on = True

    def _is_beginning(self, place: tuple[int, int]) -> bool:
        """A training that resumes does so after a whole epoch: within the first one there is none."""
        if self.trainings[-1].counts_epochs or place[0] != self._first_place[0]:
            return place[0] <= self._first_place[0]
        return place[1] <= 2 * self._first_place[1]

    def _merge(self, point: Point, place: tuple[int, int]) -> bool:
        """A second line of the same place; False where it is a training that begins anew."""
        pending = self._pending
        assert pending is not None
        disjoint = not (point.values.keys() & pending.values.keys())
        if disjoint or point.update:
            pending.values |= point.values
            pending.elapsed = point.elapsed if point.elapsed is not None else pending.elapsed
            pending.memory = point.memory if point.memory is not None else pending.memory
            return True
        if self._marked is not None or (self._same_place_restarts and self._is_beginning(place)):
            self._begin(point, place)
            return False
        pending.values |= point.values
        return True

    def _settle(self, point: Point) -> tuple[int, int]:
        """The point's place as (epoch, iteration); what the line leaves out is counted on."""
        position, last = point.position, self._place
        training = self.trainings[-1] if self.trainings else None
        epoch, iteration = position.epoch, position.iteration
        if epoch is None:
            epoch = last[0] if last is not None and self._wrapped else 1
            bounded = position.iterations
            if iteration is not None and last is not None and bounded and iteration < last[1]:
                if last[1] >= 0.9 * bounded and self._marked is None:
                    epoch = last[0] + 1
                    self._wrapped = epoch
            elif iteration is None:
                iteration = 1 if last is None or self._marked is not None else last[1] + 1
            if self._wrapped and training is not None:
                training.counts_epochs = True
        elif iteration is None:
            fresh = last is None or epoch != last[0] or self._marked is not None
            if fresh:
                iteration = 1
            else:
                assert last is not None
                same = self._pending is not None and not (point.values.keys() & self._pending.values.keys())
                iteration = last[1] + (0 if same else 1)
        position.iteration = iteration
        return epoch, iteration if iteration is not None else 1

    # what is kept

    def _flush(self) -> None:
        point, self._pending = self._pending, None
        if point is None:
            return
        assert self._place is not None
        training = self.trainings[-1]
        epoch_number, iteration = self._place
        training.counts_epochs |= point.position.epoch is not None
        training.total_epochs = point.position.epochs or training.total_epochs
        training.printed_iterations = point.position.iterations or training.printed_iterations
        training.lowest_iteration = min(training.lowest_iteration, iteration)
        training.lowest_epoch = min(training.lowest_epoch, epoch_number)
        for name in point.values:
            training.names.setdefault(name)
        _note_first(training, point)
        epoch = self._epoch(training, epoch_number, iteration)
        epoch.last_iteration = max(epoch.last_iteration, iteration)
        epoch.iterations = point.position.iterations or epoch.iterations
        epoch.points += 1
        epoch.line = point.line
        epoch.whole |= point.whole_epoch or (
            point.position.iterations is None and iteration == 1 and not point.update and point.whole_epoch
        )
        if point.elapsed is not None:
            epoch.elapsed = point.elapsed
        add_mean(epoch, point.values)
        if point.clock is not None:
            training.first_clock = point.clock if training.first_clock is None else training.first_clock
            training.last_clock = point.clock
        training.last_images = point.images if point.images is not None else training.last_images
        self._keep_scores(training, point, epoch_number, iteration)
        training.spool.add(self._row(point, epoch_number, iteration))
        self._resumed = False
        self._observe(training, point)

    def _epoch(self, training: Training, number: int, iteration: int) -> Epoch:
        if not training.epochs or training.epochs[-1].epoch != number:
            if training.epochs:
                training.epochs[-1].closed = True
            training.epochs.append(Epoch(number, iteration))
        return training.epochs[-1]

    def _row(self, point: Point, epoch: int, iteration: int) -> Row:
        by_role: dict[str, float] = {}
        for name, value in point.values.items():
            by_role.setdefault(role(name), value.value)
        rate = median_rate(point.values)
        return Row(
            epoch,
            iteration,
            point.line,
            {name: value.value for name, value in point.values.items()},
            rate.value if rate is not None else None,
            by_role.get("seconds"),
            by_role.get("data"),
            by_role.get("grad_norm"),
            point.memory,
            point.images,
            point.elapsed,
            point.clock,
            self._resumed,
        )

    # evaluations

    def _evaluate(self, point: Point) -> None:
        self._flush()
        if not self.trainings or self._place is None:
            self._early.append(point)
            return
        self._add_evaluation(self.trainings[-1], point)

    def _attach_early(self) -> None:
        self._early = []  # scores of the weights it began with: no epoch of this training

    def _add_evaluation(self, training: Training, point: Point) -> None:
        assert self._place is not None
        number, iteration = self._place
        if training.epochs and point.position.epoch in (None, training.epochs[-1].epoch):
            training.epochs[-1].closed = True
        self._keep_scores(training, point, number, iteration)
        _note_first(training, point)
        if training.epochs:
            for name, value in point.values.items():
                if role(name) in ("term", "score", "map", "map50", "map50_95"):
                    training.epochs[-1].last[name] = value.value

    @staticmethod
    def _keep_scores(training: Training, point: Point, epoch: int, iteration: int) -> None:
        kinds = ("map50", "map50_95", "map", "score")
        scores = {name: v.value for name, v in point.values.items() if role(name) in kinds}
        if point.phase == "evaluation":
            scores |= {n: v.value for n, v in point.values.items() if role(n) == "term"}
        scored = point.phase == "evaluation" or any(role(n) in kinds[:3] for n in point.values)
        if scored and scores:
            same = training.evaluations and (
                (training.evaluations[-1].epoch, training.evaluations[-1].iteration) == (epoch, iteration)
            )
            if same and not (training.evaluations[-1].values.keys() & scores.keys()):
                training.evaluations[-1].values.update(scores)
            else:
                training.evaluations.append(
                    Evaluation(epoch, iteration, point.line, scores, dict(point.per_class or {}))
                )


def _note_first(training: Training, point: Point) -> None:
    for name, value in point.values.items():
        if math.isfinite(value.value):
            training.first_values.setdefault(name, value.value)
