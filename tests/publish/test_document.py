import hashlib

import pytest

from adloom.ports import IN_MEMORY_BYTES
from adloom.publish.document import Document


@pytest.mark.parametrize("pieces", [[], [b""], [b"one", b"", b"two"], [b"x" * IN_MEMORY_BYTES, b"y"]])
def test_a_document_is_what_was_written_whatever_its_size(pieces: list[bytes]):
    document, whole = Document(), b"".join(pieces)
    for piece in pieces:
        document.write(piece)
    assert [document.file().read() for _ in range(2)] == [whole, whole]
    assert (document.sha256, document.size_bytes) == (hashlib.sha256(whole).hexdigest(), len(whole))
    assert document.is_equal(whole)
    assert not document.is_equal(whole + b"z")
    assert not document.is_equal(None)
