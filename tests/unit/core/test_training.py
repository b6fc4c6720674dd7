import pytest
import torch

from excise.errors import UserError
from excise.training import LoopOptions, learning_rate, train


class StoppedError(Exception):
    pass


def fit(folder, steps=40, stop_at=None, ema=0.9, schedule="cosine", seen=None):
    """Fit a line; batches depend on the step only. ``seen`` takes down the steps that are asked for."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    options = LoopOptions(
        steps=steps, batch=8, lr=0.05, warmup=2, ema=ema, bf16=False, checkpoint_seconds=0, schedule=schedule
    )

    def loss_of(step):
        if seen is not None:
            seen.append(step)
        if step == stop_at:
            raise StoppedError
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        return {"loss": (model(x) - x.sum(1, keepdim=True)).pow(2).mean()}

    rows = train(model, loss_of, options, folder, "line")
    return model.weight.detach().clone(), rows


def test_resumed_equals_uninterrupted(tmp_path):
    whole, rows = fit(tmp_path / "whole", steps=120)
    with pytest.raises(StoppedError):
        fit(tmp_path / "cut", steps=120, stop_at=70)
    resumed, again = fit(tmp_path / "cut", steps=120)
    assert torch.equal(whole, resumed)
    assert rows == again
    finished, _ = fit(tmp_path / "cut", steps=120, stop_at=0)  # nothing is computed any more
    assert torch.equal(finished, whole)


@pytest.mark.parametrize("stop", [1, 49, 50, 51, 119])
def test_a_state_is_kept_at_any_step(tmp_path, stop):
    """And what a row of losses has so far with it."""
    whole, rows = fit(tmp_path / "whole", steps=120)
    with pytest.raises(StoppedError):
        fit(tmp_path / "cut", steps=120, stop_at=stop)
    seen = []
    resumed, again = fit(tmp_path / "cut", steps=120, seen=seen)
    assert seen == list(range(stop, 120)), "nothing that was done is done again"
    assert torch.equal(whole, resumed) and rows == again


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    model = torch.nn.Linear(3, 1)

    def loss_of(step):
        return {"loss": model(torch.ones(2, 3)).mean() * (float("nan") if step == 3 else 1.0)}

    with pytest.raises(UserError, match="line: the loss of step 4 is no finite number"):
        train(model, loss_of, LoopOptions(steps=9, batch=2, lr=0.1, bf16=False), tmp_path, "line")
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_average_of_weights_is_left_in_the_model(tmp_path):
    averaged, _ = fit(tmp_path / "a", ema=0.99)
    last, _ = fit(tmp_path / "b", ema=0.0)
    assert not torch.equal(averaged, last)


def test_learning_rate():
    cosine = LoopOptions(steps=100, batch=1, lr=1.0, warmup=10)
    assert learning_rate(cosine, 0) < 0.2 < learning_rate(cosine, 9) <= 1.0
    assert learning_rate(cosine, 99) < 0.03
    constant = LoopOptions(steps=100, batch=1, lr=1.0, warmup=1, schedule="constant")
    assert {learning_rate(constant, s) for s in range(100)} == {1.0}


@pytest.mark.parametrize("fast", [False, True])
def test_bfloat16_only_where_the_hardware_has_it(tmp_path, monkeypatch, fast):
    """A processor that has to emulate it would be ten times slower."""
    from excise import training

    monkeypatch.setattr(training, "fast_bf16", lambda device: fast)
    model, seen = torch.nn.Linear(3, 1), []

    def loss_of(step):
        seen.append(model(torch.ones(2, 3)).dtype)
        return {"loss": model(torch.ones(2, 3)).float().pow(2).mean()}

    train(model, loss_of, LoopOptions(steps=1, batch=2, lr=0.1, bf16=True), tmp_path, "line")
    assert seen == [torch.bfloat16 if fast else torch.float32]
