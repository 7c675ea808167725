"""Full disks: a bundle is whole or not there (kills are in tests/flows/test_kills.py)."""

import errno

import pytest

from excise import Unlearner
from tests.sharing.bundle.test_bundle import assert_untouched, everything, tree


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8, 0.99])
def test_a_full_disk_leaves_nothing(t5_case, tmp_path, share, monkeypatch):
    # A limit on a file's size fails as a full disk does, in whatever writes it, in C and in Rust too.
    resource = pytest.importorskip("resource")
    import signal

    before = everything(t5_case.unlearner)
    t5_case.unlearner.save_bundle(tmp_path / "whole")
    sizes = sorted({len(data) for data in tree(tmp_path / "whole").values()})
    limit = sizes[int(share * len(sizes))] - 1
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(Exception, match=rf"(?i)too large|os error {errno.EFBIG}"):
            t5_case.unlearner.save_bundle(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert_untouched(t5_case.unlearner, before)
    t5_case.unlearner.save_bundle(tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    Unlearner.from_pretrained(tmp_path / "out")
