import pytest
import torch

from ovseg_demo.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (16, 16)])
def test_all_singular_values_become_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 100
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.6 and values.max() < 1.3


def step(shape, **options):
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(shape))
    if options.pop("channels_last", False):
        parameter.data = parameter.data.to(memory_format=torch.channels_last)
    optimizer = Muon([parameter], **options)
    for _ in range(3):
        optimizer.zero_grad()
        (parameter**4).sum().backward()
        optimizer.step()
    return parameter.detach()


def test_matrices_move_as_by_torchs_muon():
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(12, 20))
    optimizer = torch.optim.Muon([parameter], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        optimizer.zero_grad()
        (parameter**4).sum().backward()
        optimizer.step()
    # Both iterate in bfloat16, in another order.
    torch.testing.assert_close(
        step((12, 20), lr=0.01, weight_decay=0.1), parameter.detach(), atol=2e-3, rtol=0
    )


def test_a_convolution_moves_as_the_matrix_of_its_filters():
    wanted = step((8, 27), lr=0.01)
    torch.testing.assert_close(step((8, 3, 3, 3), lr=0.01).flatten(1), wanted)
    torch.testing.assert_close(step((8, 3, 3, 3), lr=0.01, channels_last=True).flatten(1), wanted)
