import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset

from ovseg_demo.errors import CheckpointError, DatasetError, ModelError
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.files import CHECKPOINT_FILE, WEIGHTS_FILE
from ovseg_demo.training.log import LOG_FILE
from ovseg_demo.training.loop import run_training
from ovseg_demo.training.optimizers import decay_groups
from ovseg_demo.training.sampling import StepBatchSampler, sample_generator
from ovseg_demo.training.schedule import LoopSettings, learning_rate_factor
from ovseg_demo.training.task import TrainingTask

RUNTIME = Runtime.resolve("cpu", "float32")
SETTINGS = LoopSettings(steps=30, batch_size=8, warmup_steps=3, log_every=5)


class Sums(Dataset):
    """Four numbers and their sum."""

    def __getitem__(self, index):
        numbers = torch.randn(4, generator=sample_generator(0, index))
        return numbers, numbers.sum()


class SumTask(TrainingTask):
    """Learns to add, with noise in the loss so that the random state matters."""

    def __init__(self, width=4, stop_before=math.inf):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Linear(width, 1)
        self.stop_before, self.calls = stop_before, 0

    def parameter_groups(self):
        return decay_groups(self, lr=0.1, weight_decay=0.01)

    def dataset(self):
        return Sums()

    def forward(self, batch):
        self.calls += 1
        if self.calls == self.stop_before:
            raise KeyboardInterrupt
        numbers, sums = batch
        error = self.network(numbers + 0.01 * torch.randn_like(numbers))[:, 0] - sums
        loss = error.square().mean()
        return loss, {"worst": error.detach().abs().max()}

    def evaluate(self):
        return {"distance": float((self.network.weight - 1).norm())}

    def save(self, path):
        torch.save(self.network.state_dict(), path)


def read_log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def test_the_loss_falls_in_the_log(tmp_path):
    weights = run_training(SumTask(), SETTINGS, tmp_path, RUNTIME)
    *steps, evaluation = read_log(tmp_path)
    assert weights == tmp_path / WEIGHTS_FILE
    assert [entry["step"] for entry in steps] == [5, 10, 15, 20, 25, 30]
    assert steps[-1]["loss"] < 0.1 * steps[0]["loss"]
    assert steps[-1].keys() >= {"loss", "worst", "gradient_norm", "learning_rate", "samples_per_second"}
    assert evaluation["evaluation"]["distance"] < 0.5


def test_learning_rates_can_be_multiplied(tmp_path):
    for rate in (1.0, 2.0):
        run_training(SumTask(), replace(SETTINGS, rate=rate), tmp_path / str(rate), RUNTIME)
    rates = [[entry["learning_rate"] for entry in read_log(tmp_path / f)[:-1]] for f in ("1.0", "2.0")]
    assert rates[1] == [2 * rate for rate in rates[0]]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, workers):
    settings = LoopSettings(
        steps=12, batch_size=8, warmup_steps=3, log_every=2, save_minutes=0, workers=workers
    )
    whole, parts = SumTask(), SumTask(stop_before=8)
    run_training(whole, settings, tmp_path / "whole", RUNTIME)
    with pytest.raises(KeyboardInterrupt):
        run_training(parts, settings, tmp_path / "parts", RUNTIME)
    resumed = SumTask()
    run_training(resumed, settings, tmp_path / "parts", RUNTIME)
    assert resumed.calls == 5  # 7 of the 12 steps were saved
    assert torch.equal(resumed.network.weight, whole.network.weight)
    logs = [[entry["step"] for entry in read_log(tmp_path / name)] for name in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_log_lines_after_the_checkpoint_are_dropped(tmp_path):
    run_training(SumTask(), SETTINGS, tmp_path, RUNTIME)
    with (tmp_path / LOG_FILE).open("a") as log:
        log.write('{"step": 31}\n')
    run_training(SumTask(), LoopSettings(steps=31, batch_size=8, log_every=1), tmp_path, RUNTIME)
    assert [entry["step"] for entry in read_log(tmp_path)][-3:] == [30, 31, 31]  # means, then figures
    assert "loss" in read_log(tmp_path)[-2]


@pytest.mark.parametrize("lost", [1, 5, 40])
def test_a_run_resumes_after_its_last_log_line_was_cut(tmp_path, lost):
    settings = replace(SETTINGS, save_minutes=0)
    run_training(SumTask(), settings, tmp_path / "whole", RUNTIME)
    with pytest.raises(KeyboardInterrupt):
        run_training(SumTask(stop_before=26), settings, tmp_path / "parts", RUNTIME)
    log = tmp_path / "parts" / LOG_FILE
    log.write_bytes(log.read_bytes()[:-lost])
    run_training(SumTask(), settings, tmp_path / "parts", RUNTIME)
    steps, whole = ([entry["step"] for entry in read_log(tmp_path / name)] for name in ("parts", "whole"))
    assert steps == [step for step in whole if step != 25] if lost > 1 else whole
    weights = [torch.load(tmp_path / name / WEIGHTS_FILE)["weight"] for name in ("parts", "whole")]
    assert torch.equal(*weights)


class MissingSums(Sums):
    def __getitem__(self, index):
        raise DatasetError("sums/0.txt: it is missing; make it.")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_data_is_its_sentence_alone(tmp_path, workers, monkeypatch):
    monkeypatch.setattr(SumTask, "dataset", lambda task: MissingSums())
    with pytest.raises(DatasetError) as raised:
        run_training(SumTask(), replace(SETTINGS, workers=workers), tmp_path, RUNTIME)
    assert str(raised.value) == "sums/0.txt: it is missing; make it."


def test_a_finished_run_is_not_trained_again(tmp_path):
    run_training(SumTask(), SETTINGS, tmp_path, RUNTIME)
    again = SumTask()
    run_training(again, SETTINGS, tmp_path, RUNTIME)
    assert again.calls == 0


def test_a_time_budget_ends_the_run(tmp_path):
    task = SumTask()
    run_training(task, LoopSettings(steps=10**6, batch_size=8, minutes=1e-9), tmp_path, RUNTIME)
    assert task.calls == 1
    assert (tmp_path / WEIGHTS_FILE).exists()


def test_making_the_dataset_uses_nothing_of_the_time_budget(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("ovseg_demo.training.loop.time", clock)

    class SlowTask(SumTask):
        def dataset(self):
            clock.now += 90.0
            return super().dataset()

        def forward(self, batch):
            clock.now += 10.0
            return super().forward(batch)

    settings = replace(SETTINGS, minutes=1.0, save_minutes=0.0)
    with pytest.raises(KeyboardInterrupt):
        run_training(SlowTask(stop_before=3), settings, tmp_path, RUNTIME)
    resumed = SlowTask()
    run_training(resumed, settings, tmp_path, RUNTIME)
    assert resumed.calls == 4, "of six steps in a minute, two were saved"


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run_training(SumTask(), SETTINGS, tmp_path, RUNTIME)
    with pytest.raises(CheckpointError, match=f"{CHECKPOINT_FILE} belongs to a run with another model"):
        run_training(SumTask(width=5), SETTINGS, tmp_path, RUNTIME)


@pytest.mark.parametrize("steps", [30, 40])
@pytest.mark.parametrize("change", [{"seed": 9}, {"rate": 5.0}, {"batch_size": 4}, {"seed": 9, "rate": 5.0}])
def test_a_run_with_other_options_is_refused_in_its_folder(tmp_path, change, steps):
    run_training(SumTask(), SETTINGS, tmp_path, RUNTIME)
    with pytest.raises(CheckpointError, match="remove this one") as refusal:
        run_training(SumTask(), replace(SETTINGS, steps=steps, **change), tmp_path, RUNTIME)
    for name, value in change.items():
        before = getattr(SETTINGS, name)
        assert f"--{name.replace('_', '-')} was {before}, is {value}" in str(refusal.value)


def test_a_checkpoint_of_an_older_version_is_refused(tmp_path):
    run_training(SumTask(), SETTINGS, tmp_path, RUNTIME)
    with pytest.raises(CheckpointError, match="did not note --init; give --out another folder"):
        run_training(SumTask(), SETTINGS, tmp_path, RUNTIME, {"init": None})
    state = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
    del state["settings"]
    torch.save(state, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(CheckpointError, match="did not note --seed, --batch-size, --rate; give --out"):
        run_training(SumTask(), SETTINGS, tmp_path, RUNTIME)


@given(first=st.integers(0, 5), more=st.integers(0, 5), share=st.integers(1, 4), processes=st.integers(1, 3))
def test_processes_share_each_step_between_them(first, more, share, processes):
    batch = share * processes
    parts = [list(StepBatchSampler(first, first + more, batch, i, processes)) for i in range(processes)]
    steps = [[index for part in step for index in part] for step in zip(*parts, strict=True)]
    assert steps == [list(range(s * batch, (s + 1) * batch)) for s in range(first, first + more)]


def test_a_batch_that_cannot_be_split_is_refused():
    with pytest.raises(ModelError, match=r"--batch-size is 7, .* choose a multiple of 2"):
        StepBatchSampler(0, 1, 7, 0, 2)


@pytest.mark.parametrize(
    ("schedule", "halfway", "end"), [("cosine", 0.5, 0.0), ("poly", 0.5**0.9, 0.0), ("constant", 1.0, 1.0)]
)
def test_schedules(schedule, halfway, end):
    settings = LoopSettings(steps=100, batch_size=1, warmup_steps=4, schedule=schedule)
    warmup = [learning_rate_factor(settings, step, 0.0) for step in range(5)]
    assert warmup == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert learning_rate_factor(settings, 50, 0.5) == pytest.approx(halfway)
    assert learning_rate_factor(settings, 100, 1.0) == pytest.approx(end)


def test_only_matrices_decay():
    groups = decay_groups(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), lr=0.1, weight_decay=0.2)
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.2), (3, 0.0)]


class TwoLayerTask(SumTask):
    """The same with a hidden layer, which learns by Muon."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))

    def parameter_groups(self):
        return decay_groups(self, lr=0.1, weight_decay=0.01, muon_lr=0.2, muon_without=[self.network[1]])

    def evaluate(self):
        return {"bias": float(self.network[1].bias)}


def test_inner_matrices_learn_by_muon_and_everything_else_by_adam(tmp_path):
    task = TwoLayerTask()
    *_, muon = task.parameter_groups()
    assert muon["muon"] and muon["params"] == [task.network[0].weight] and muon["lr"] == 0.2
    before = [parameter.detach().clone() for parameter in task.parameters()]
    run_training(task, replace(SETTINGS, steps=1, warmup_steps=0), tmp_path / "once", RUNTIME)
    inner, *others = [(a - b).detach() for a, b in zip(task.parameters(), before, strict=True)]
    # Muon: the largest singular value is 0.2 √8 times the rate, up to what Newton's and Schulz's steps leave.
    assert torch.linalg.svdvals(inner)[0] == pytest.approx(0.2 * 8**0.5 * 0.2, rel=0.4)
    # Adam: at first every number moves by the rate.
    assert all(step.abs().mean() == pytest.approx(0.1, rel=0.05) for step in others)
    run_training(TwoLayerTask(), SETTINGS, tmp_path / "all", RUNTIME)
    *lines, _ = read_log(tmp_path / "all")
    assert lines[-1]["loss"] < 0.3 * lines[0]["loss"]


def test_a_run_with_muon_goes_on_exactly(tmp_path):
    run_training(TwoLayerTask(), SETTINGS, tmp_path / "whole", RUNTIME)
    settings = replace(SETTINGS, save_minutes=0.0)
    with pytest.raises(KeyboardInterrupt):
        run_training(TwoLayerTask(stop_before=18), settings, tmp_path / "parts", RUNTIME)
    run_training(TwoLayerTask(), settings, tmp_path / "parts", RUNTIME)
    whole, parts = (torch.load(tmp_path / name / WEIGHTS_FILE) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
