import subprocess
import sys

import numpy as np
import pytest

from actors.vectors.backends import make_index
from actors.vectors.protocol import VectorIndex


def use(index: VectorIndex) -> None:
    index.add([3], np.ones((1, 4)))
    assert index.search(np.ones((1, 4)), 1)[0].tolist() == [[3]]


@pytest.mark.parametrize("backend", ["faiss", "hnswlib"])
def test_a_backend_is_made_by_the_name_in_the_settings(backend):
    index = make_index(backend, 4, threads=2)
    use(index)
    assert (index.backend, index.dimensions) == (backend, 4)


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="no vector backend is called annoy"):
        make_index("annoy", 4)


def test_the_exact_backend_does_not_load_the_graph_library():
    program = (
        "import sys; from actors.vectors.backends import make_index; make_index('faiss', 4);"
        "print('faiss' in sys.modules, 'hnswlib' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["True", "False"]
