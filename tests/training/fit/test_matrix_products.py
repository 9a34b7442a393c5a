import pytest
import torch

from humwatch_training.fit import matrix_products
from humwatch_training.fit.matrix_products import fast_float32_products, onednn_products_are_float32


def setting() -> str:
    return str(torch.backends.mkldnn.matmul.fp32_precision)


def test_products_within_the_block_keep_the_digits_of_float32():
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(300, 300, generator=generator) for _ in range(2))
    with fast_float32_products():
        product = left @ right
    torch.testing.assert_close(product.double(), left.double() @ right.double(), rtol=0, atol=2e-4)


def test_the_setting_is_put_back_also_after_an_error():
    before = setting()
    with pytest.raises(ZeroDivisionError), fast_float32_products():
        raise ZeroDivisionError
    assert setting() == before


@pytest.mark.parametrize(("exact", "inside"), [(True, "bf16"), (False, "none")])
def test_bfloat16_is_allowed_only_where_it_is_not_used(monkeypatch: pytest.MonkeyPatch, exact: bool, inside: str):
    monkeypatch.setattr(matrix_products, "onednn_products_are_float32", lambda: exact)
    torch.backends.mkldnn.matmul.fp32_precision = "none"
    with fast_float32_products():
        assert setting() == inside


def test_a_processor_that_rounds_to_bfloat16_is_noticed(monkeypatch: pytest.MonkeyPatch):
    product = torch.Tensor.__matmul__

    def rounded(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return product(left.bfloat16().float(), right.bfloat16().float())

    onednn_products_are_float32.cache_clear()
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    try:
        assert not onednn_products_are_float32()
    finally:
        onednn_products_are_float32.cache_clear()
