"""Variables as a template names them."""

from adloom.core.campaign import flat


def test_paired_values_are_named_by_their_path_in_the_order_of_the_file():
    variables = {"colour": "red", "product": {"name": "mug", "maker": {"city": "Jena"}}, "size": "L"}
    assert list(flat(variables)) == [
        ("colour", "red"),
        ("product.name", "mug"),
        ("product.maker.city", "Jena"),
        ("size", "L"),
    ]


def test_a_list_is_one_value_to_read():
    assert list(flat({"tags": ["warm", "calm"]})) == [("tags", "warm, calm")]
