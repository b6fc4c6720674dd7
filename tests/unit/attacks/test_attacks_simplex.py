"""Points on the simplex: against the sorting algorithm, and the straight-through rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from excise.attacks.search.simplex import project_to_simplex, sample_one_hot


def project_by_sorting(v: np.ndarray) -> np.ndarray:
    """Duchi et al. 2008, figure 1."""
    u = np.sort(v)[::-1]
    sums = np.cumsum(u)
    rho = max(j for j in range(len(v)) if u[j] - (sums[j] - 1) / (j + 1) > 0)
    return np.maximum(v - (sums[rho] - 1) / (rho + 1), 0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("size", [1, 2, 50, 2000])
def test_projection_equals_sorting(scale, size):
    points = scale * torch.randn(3, 2, size, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    projected = project_to_simplex(points)
    expected = np.apply_along_axis(project_by_sorting, -1, points.numpy())
    np.testing.assert_allclose(projected.numpy(), expected, atol=1e-12)
    torch.testing.assert_close(project_to_simplex(projected), projected, rtol=0, atol=1e-12)


def test_projection_in_single_precision():
    points = torch.randn(4, 3000, generator=torch.Generator().manual_seed(0))
    projected = project_to_simplex(points)
    torch.testing.assert_close(projected.double(), project_to_simplex(points.double()), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(projected.sum(-1), torch.ones(4))
    assert (projected >= 0).all()


def test_vertices_and_the_middle_stay_where_they_are():
    for points in (torch.eye(5, dtype=torch.float64), torch.full((1, 4), 0.25, dtype=torch.float64)):
        torch.testing.assert_close(project_to_simplex(points), points, rtol=0, atol=1e-12)


def test_samples_are_vertices_with_the_points_probabilities():
    point = torch.tensor([0.5, 0.0, 0.2, 0.3], dtype=torch.float64)
    uniforms = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    drawn = sample_one_hot(point.expand(1000, 4), uniforms)
    assert set(drawn.unique().tolist()) == {0.0, 1.0} and (drawn.sum(-1) == 1).all()
    assert drawn.sum(0).tolist() == [500, 0, 200, 300]


def test_the_largest_uniform_number_draws_a_token_too():
    point = project_to_simplex(torch.rand(1, 777, generator=torch.Generator().manual_seed(0)))
    assert float(sample_one_hot(point, torch.tensor([1.0 - 1e-12], dtype=torch.float64)).sum()) == 1


def test_the_gradient_goes_straight_through():
    points = project_to_simplex(torch.randn(2, 3, 6, dtype=torch.float64)).requires_grad_(True)
    weight = torch.randn(2, 3, 6, dtype=torch.float64)
    drawn = sample_one_hot(points, torch.rand(2, 3, dtype=torch.float64))
    (drawn * weight).sum().backward()
    assert torch.equal(points.grad, weight)
