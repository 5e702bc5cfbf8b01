"""Training pieces: their laws, and that what they train is compatible: M(new/old) > M(old/old)."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import as_file, files

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray

from vecstore_translators import unit_rows
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    MissingDependencyError,
)
from vecstore_translators.evaluation import ndcg_at_k, top_k
from vecstore_translators.training import (
    BasisTransformationHead,
    basis_transformation_loss,
    higher_order_compatibility_loss,
    simplex_classifier,
    simplex_vertices,
    stationary_loss,
)
from vecstore_translators.unpaired.clusters import spherical_kmeans


@pytest.fixture(scope="module")
def dictionary() -> dict[str, NDArray[np.float32]]:
    def vectors(table: object, name: str) -> NDArray[np.float32]:
        column = table[name].combine_chunks()  # type: ignore[index]
        return unit_rows(column.values.to_numpy().reshape(len(column), -1))

    with as_file(files("vecstore_cli") / "demo_data") as folder:
        items = pq.read_table(folder / "wordnet_items.parquet")
        asked = pq.read_table(folder / "wordnet_queries.parquet")
    place = {name: i for i, name in enumerate(items["id"].to_pylist())}
    parts = {"relevant": np.array([place[r] for r in asked["relevant_id"].to_pylist()])}
    for name in ("static256", "minilm384"):
        parts[name] = vectors(items, name)
        parts[f"queries {name}"] = vectors(asked, name)
    return parts


def test_the_head_is_orthonormal_and_loses_nothing_however_it_is_trained() -> None:
    head = BasisTransformationHead(6, 4, extra_dims=3)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.5)
    features, old = torch.randn(20, 6), torch.randn(20, 4)
    for _ in range(10):
        loss = basis_transformation_loss(head, head(features), old=old, reference=features)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
    joint = head(features)
    assert joint.shape == (20, 9)
    torch.testing.assert_close(head.new_part(joint), features, atol=1e-4, rtol=1e-4)
    wide = torch.cat([features, features @ head.expansion], dim=1)
    torch.testing.assert_close(joint @ joint.T, wide @ wide.T, atol=1e-3, rtol=1e-4)
    translated = head.translator().translate(features.numpy())
    np.testing.assert_allclose(translated, joint.detach().numpy(), atol=1e-4)


def test_without_extra_dimensions_the_head_is_a_rotation() -> None:
    head = BasisTransformationHead(5, 3)
    features = torch.randn(10, 5)
    assert torch.equal(head.old_part(head(features)), head(features)[:, :3])
    assert head.translator().invertible


def test_the_basis_loss_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    features, old = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    head = BasisTransformationHead(5, 3, extra_dims=1, seed=4)
    tensors = [torch.tensor(a, dtype=torch.float32) for a in (features, old)]
    with torch.no_grad():
        joint = head(tensors[0])
        loss = basis_transformation_loss(
            head, joint, old=tensors[1], reference=tensors[0] * 2, weights=(2.0, 3.0, 5.0)
        )
    part = unit_rows(joint.numpy()[:, :3])
    cosines = part @ unit_rows(old).T
    odds = np.exp(cosines / 0.05)
    influence = -np.mean(np.log(np.diag(odds) / odds.sum(axis=1)))
    assert float(loss.old_matching) == pytest.approx(1 - np.diag(cosines).mean(), abs=1e-5)
    assert float(loss.influence) == pytest.approx(influence, abs=1e-4)
    assert float(loss.new_matching) == pytest.approx(0, abs=1e-5)
    expected = 3 * influence + 5 * (1 - np.diag(cosines).mean())
    assert float(loss.total) == pytest.approx(expected, abs=1e-3)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    classes = basis_transformation_loss(
        head, joint, old=tensors[1], reference=tensors[0], prototypes=tensors[1][:2], labels=labels
    )
    odds = np.exp(part @ unit_rows(old[:2]).T / 0.05)
    chosen = odds[np.arange(6), labels.numpy()] / odds.sum(axis=1)
    assert float(classes.influence) == pytest.approx(-np.log(chosen).mean(), abs=1e-4)


def test_a_head_trained_with_the_basis_loss_is_compatible(
    dictionary: dict[str, NDArray[np.float32]],
) -> None:
    """A backbone layer and the head learn together; new queries then search old documents."""
    parts = {}  # in their leading axes, which keep the matrix exponential small
    for name, axes in (("minilm384", 128), ("static256", 96)):
        basis = np.linalg.svd(dictionary[name][400:], full_matrices=False)[2][:axes].T
        parts[name] = unit_rows(dictionary[name] @ basis)
        parts[f"queries {name}"] = unit_rows(dictionary[f"queries {name}"] @ basis)
    new, old = (torch.from_numpy(parts[name]) for name in ("minilm384", "static256"))
    backbone = torch.nn.Linear(128, 128, bias=False)
    torch.nn.init.eye_(backbone.weight)
    head = BasisTransformationHead(128, 96, extra_dims=32)
    optimiser = torch.optim.Adam(
        [
            {"params": list(backbone.parameters()), "lr": 1e-3},
            {"params": list(head.parameters()), "lr": 1e-2},
        ]
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(80):
        rows = 400 + torch.randperm(2000, generator=generator)[:256]
        joint = head(backbone(new[rows]))
        loss = basis_transformation_loss(
            head, joint, old=old[rows], reference=new[rows], weights=(1.0, 0.5, 1.0)
        )
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
    with torch.no_grad():
        queries = head(backbone(torch.from_numpy(parts["queries minilm384"]))).numpy()
        documents = head(backbone(new)).numpy()
    padded = np.pad(parts["static256"], ((0, 0), (0, head.joint_dim - 96)))
    relevant = dictionary["relevant"]

    def quality(asked: NDArray[np.float32], searched: NDArray[np.float32]) -> float:
        return float(ndcg_at_k(top_k(asked, searched, 10)[0], relevant).mean())

    old_old = quality(parts["queries static256"], parts["static256"])
    assert quality(queries, padded) > old_old + 0.03
    assert (
        quality(queries, documents) > quality(parts["queries minilm384"], parts["minilm384"]) - 0.03
    )


@pytest.mark.parametrize("classes", [2, 3, 10, 65])
def test_simplex_corners_are_unit_and_equally_far_apart(classes: int) -> None:
    corners = simplex_vertices(classes)
    expected = np.full((classes, classes), -1 / (classes - 1))
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(corners @ corners.T, expected, atol=1e-12)
    layer = simplex_classifier(classes)
    assert not layer.weight.requires_grad
    np.testing.assert_allclose(layer.weight.numpy(), corners, atol=1e-6)


def test_the_alignment_loss_is_its_formula_and_leaves_the_old_model_alone() -> None:
    rng = np.random.default_rng(0)
    new, old = unit_rows(rng.normal(size=(5, 3))), unit_rows(rng.normal(size=(5, 3)))
    labels = np.array([0, 1, 0, 2, 1])
    expected = 0.0
    for i in range(5):
        others = [np.exp(7 * old[i] @ new[j]) for j in range(5) if labels[j] != labels[i]]
        expected += (np.log(sum(others)) - 7 * old[i] @ new[i]) / 5
    given, before = torch.tensor(new, requires_grad=True), torch.tensor(old, requires_grad=True)
    target = torch.tensor(labels)
    loss = higher_order_compatibility_loss(3 * given, before, target, scale=7)
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-5)
    loss.backward()
    assert given.grad is not None
    assert before.grad is None
    logits = torch.tensor(rng.normal(size=(5, 4)))
    mixed = stationary_loss(logits, given, before, target, alignment=0.25, scale=7)
    plain = torch.nn.functional.cross_entropy(logits, target)
    assert float(mixed.detach()) == pytest.approx(0.75 * float(plain) + 0.25 * expected, abs=1e-5)


def network(width: int, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(384, width), torch.nn.ReLU(), torch.nn.Linear(width, 15)
    )


def trained(model, classifier, X, labels, previous=None):  # type: ignore[no-untyped-def]
    """Train with or without the previous generation; features are unit vectors times 10."""
    parameters = [p for m in (model, classifier) for p in m.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        batch = torch.randperm(len(X), generator=generator)[:128]
        features = torch.nn.functional.normalize(model(X[batch]), dim=1)
        logits = classifier(10 * features)
        if previous is None:
            loss = torch.nn.functional.cross_entropy(logits, labels[batch])
        else:
            with torch.no_grad():
                before = previous(X[batch])
            loss = stationary_loss(logits, features, before, labels[batch], alignment=0.2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def test_generations_under_one_simplex_classifier_are_compatible(
    dictionary: dict[str, NDArray[np.float32]],
) -> None:
    """Old: few items of 12 classes. New: all items of 16. Free classifiers do not compare."""
    rows = dictionary["minilm384"]
    centered = unit_rows(rows - rows.mean(axis=0))
    centroids = spherical_kmeans(centered, 16, rng=np.random.default_rng(0))
    labels = torch.from_numpy((centered @ centroids.T).argmax(axis=1))
    X = torch.from_numpy(rows)
    few = torch.nonzero((labels < 12) & (torch.arange(4000) < 400))[:, 0]
    train, test = torch.arange(3000), torch.arange(3000, 4000)

    def compatibility(asked, searched):  # type: ignore[no-untyped-def]
        with torch.no_grad():
            queries, documents = asked(X[test]).numpy(), searched(X[train[:2000]]).numpy()
        nearest = top_k(queries, documents, 1)[0][:, 0]
        return float(np.mean(labels.numpy()[nearest] == labels[test].numpy()))

    fixed = simplex_classifier(16)
    old = trained(network(32, 1), fixed, X[few], labels[few])
    new = trained(network(64, 2), fixed, X[train], labels[train], previous=old)
    old_old = compatibility(old, old)
    assert compatibility(new, old) > old_old + 0.03
    assert compatibility(new, new) > compatibility(new, old)
    free = [torch.nn.Linear(15, 16, bias=False) for _ in range(2)]
    before = trained(network(32, 1), free[0], X[few], labels[few])
    after = trained(network(64, 2), free[1], X[train], labels[train])
    assert compatibility(after, before) < old_old


def test_what_makes_no_sense_is_refused_by_name() -> None:
    with pytest.raises(DimensionMismatchError, match="extra_dims"):
        BasisTransformationHead(4, 6, extra_dims=1)
    with pytest.raises(InvalidArgumentError):
        simplex_vertices(1)
    with pytest.raises(InvalidArgumentError, match="two classes"):
        higher_order_compatibility_loss(torch.eye(3), torch.eye(3), torch.zeros(3))
    with pytest.raises(InvalidArgumentError, match="alignment"):
        stationary_loss(torch.eye(3), torch.eye(3), torch.eye(3), torch.arange(3), alignment=1.5)
    head = BasisTransformationHead(4, 2)
    batch = torch.randn(3, 4), torch.randn(3, 2)
    with pytest.raises(InvalidArgumentError, match="together"):
        basis_transformation_loss(
            head, head(batch[0]), old=batch[1], reference=batch[0], labels=torch.arange(3)
        )
    with pytest.raises(InvalidArgumentError, match="temperature"):
        basis_transformation_loss(
            head, head(batch[0]), old=batch[1], reference=batch[0], temperature=0
        )


def test_without_torch_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from vecstore_translators.training import simplex_classifier\n"
        "from vecstore_translators.errors import MissingDependencyError\n"
        "try: simplex_classifier(3)\n"
        "except MissingDependencyError as error: print(error)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "vecstore[train]" in printed
    assert issubclass(MissingDependencyError, ImportError)
