"""A tower on its device: what it does where there is none, no memory, or no device any more."""

from pathlib import Path

import numpy as np
import pytest

import models.errors
import runtime.errors
from actors.fitted import CPU, Fit, Fitted, on_device
from models.pack import BUILT_IN, load_pack
from runtime.restart import EXIT_STICKY_GPU


@pytest.fixture
def fitted() -> Fitted:
    return Fitted.open(load_pack(BUILT_IN / "sketch"), CPU, 1)


def full_above(fitted, most, monkeypatch):
    """Let batches above *most* not fit; the sizes that are tried."""
    tried = []
    run = fitted.tower._session.run

    def watched(feeds, wanted=None):
        rows = len(feeds["pixels"])
        tried.append(rows)
        if rows > most:
            raise models.errors.OutOfMemory(Path("image.onnx"), rows, "CUDA failure 2")
        return run(feeds, wanted)

    monkeypatch.setattr(fitted.tower._session, "run", watched)
    return tried


def pictures(fitted, number):
    return fitted.tower.prepare([np.full((64, 64, 3), 40 + n, np.uint8) for n in range(number)])


def test_a_gpu_that_is_not_there_is_replaced_by_the_cpu():
    fitted = Fitted.open(load_pack(BUILT_IN / "sketch"), "cuda:99", 1)
    assert fitted.tower._session.device == CPU


def test_a_batch_that_does_not_fit_is_run_in_smaller_ones_and_costs_no_photo(fitted, monkeypatch):
    tensor = pictures(fitted, 32)
    expected, _ = fitted.embed(tensor)
    tried = full_above(fitted, 8, monkeypatch)
    vectors, broken = fitted.embed(tensor)
    assert np.allclose(vectors, expected, atol=1e-5)
    assert broken == ()
    assert tried == [32, 8, 8, 8, 8]
    tried.clear()
    fitted.embed(tensor)
    assert tried == [8, 8, 8, 8]  # what did not fit once is not tried again


def test_a_device_without_room_for_one_picture_ends_the_process_as_one_without_memory(
    fitted, monkeypatch
):
    full_above(fitted, 0, monkeypatch)
    with pytest.raises(MemoryError, match="no memory for a batch of 1"):
        fitted.embed(pictures(fitted, 1))


def test_a_size_that_does_not_fit_at_the_start_is_left_out(fitted, monkeypatch):
    full_above(fitted, 8, monkeypatch)
    fitted.warm_up()
    assert fitted.fit.largest == 16
    full_above(fitted, 0, monkeypatch)
    with pytest.raises(models.errors.OutOfMemory):
        fitted.warm_up()


def test_a_lost_gpu_ends_the_process_with_70(fitted, tmp_path, monkeypatch):
    def lost(*_, **__):
        raise models.errors.DeviceLost(tmp_path / "image.onnx", "CUDA failure 700")

    tensor = pictures(fitted, 1)
    monkeypatch.setattr(fitted.tower, "embed", lost)
    with pytest.raises(runtime.errors.DeviceLost, match="the GPU is lost") as caught:
        fitted.embed(tensor)
    assert caught.value.exit_code == EXIT_STICKY_GPU


def lost(device):
    raise models.errors.DeviceLost(Path("image.onnx"), f"{device} is gone")


def test_a_gpu_that_is_lost_while_a_model_is_opened_ends_the_process_likewise():
    with pytest.raises(runtime.errors.DeviceLost, match="cuda:0 is gone"):
        on_device(lost, "cuda:0")


def test_what_cannot_be_opened_on_the_cpu_either_is_refused():
    def unusable(device):
        raise models.errors.DeviceUnusable(device, "no such thing")

    with pytest.raises(models.errors.DeviceUnusable, match="cpu:0"):
        on_device(unusable, "cuda:0")


def test_any_model_is_run_in_halves_down_to_the_least_it_can_do():
    tried = []

    def compute(largest):
        tried.append(largest)
        if largest is None or largest > 2:
            raise models.errors.OutOfMemory(Path("faces.onnx"), largest or 8, "CUDA failure 2")
        return largest

    fit = Fit(smallest=1)
    assert fit.run(compute) == 2
    assert fit.run(compute) == 2
    assert tried == [None, 4, 2, 2]
