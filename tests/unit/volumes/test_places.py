"""The same crops in folders, in a zip archive and behind a URL give the same numbers and the same store."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pytest

from counterpoise.errors import DamagedChunkError, LayoutError
from counterpoise.frequencies.count import count_crops
from counterpoise.volumes import remote
from counterpoise.volumes.crops import CropSet, load_crops
from counterpoise.volumes.formats import is_stored, open_volume
from counterpoise.volumes.places import is_there, place_of

ReadLevel = Callable[[Any], np.ndarray]
AddCrop = Callable[..., Path]

VALUES = np.random.default_rng(21).integers(0, 2, (16, 16, 20)).astype(np.uint8)
"""In chunks of 8 x 8 x 8: 2 x 2 x 3 of them."""


def counts(crops: CropSet) -> dict[str, tuple[int, ...]]:
    (crop,) = count_crops(crops, workers=1).crops
    return {name: tuple(count.voxels) for name, count in crop.classes.items()}


def by_hand(values: np.ndarray) -> tuple[int, int, int]:
    present = int(np.count_nonzero(values))
    return present, values.size - present, 0


@pytest.fixture
def table(tmp_path: Path, add_crop: AddCrop) -> Path:
    """Write one crop with two classes, one of them with chunks that are not stored."""
    half = VALUES.copy()
    half[:8] = 0
    return add_crop(tmp_path / "data", "crop1", {"a": VALUES, "b": half})


RIGHT = {"a": by_hand(VALUES), "b": by_hand(np.where(np.arange(16)[:, None, None] < 8, 0, VALUES))}


def store_in(folder: Path) -> Path:
    (store,) = folder.rglob("*.zarr")
    return store


# --- archives --------------------------------------------------------------------------------------------------------


def pack(store: Path, archive: Path, *, inside: str = "", compression: int = ZIP_STORED) -> Path:
    with ZipFile(archive, "w", compression) as made:
        for file in sorted(store.rglob("*")):
            if file.is_file():
                made.write(file, f"{inside}{file.relative_to(store).as_posix()}")
    return archive


@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
@pytest.mark.parametrize("inside", ["", "d.zarr/"])
def test_a_zipped_store_is_read(table: Path, inside: str, compression: int) -> None:
    store = store_in(table.parent)
    pack(store, store.parent / "d.zarr.zip", inside=inside, compression=compression)
    shutil.rmtree(store)
    table.write_text(table.read_text().replace("d.zarr", f"d.zarr.zip/{inside}".rstrip("/")))
    crops = load_crops(table, ["a", "b"])
    assert crops.notes == ()
    assert counts(crops) == RIGHT


def test_a_zipped_group_is_read_and_its_files_are_seen(table: Path, tmp_path: Path, read_level: ReadLevel) -> None:
    group = next(store_in(table.parent).rglob("crop1/b"))
    volume = open_volume(pack(group, tmp_path / "b.zarr.zip"))
    level = volume.levels[0]
    np.testing.assert_array_equal(read_level(level), read_level(open_volume(group).levels[0]))
    there = [is_there(file) for _, file in level.chunk_paths(level.whole())]
    assert (there.count(True), there.count(False)) == (6, 6)
    assert str(tmp_path / "b.zarr.zip") in volume.metadata_files()


def test_chunk_names_in_an_archive_are_compared_too(table: Path, tmp_path: Path, read_level: ReadLevel) -> None:
    group = next(store_in(table.parent).rglob("crop1/a"))
    meta = json.loads((group / "s0" / ".zarray").read_text())
    (group / "s0" / ".zarray").write_text(json.dumps(meta | {"dimension_separator": "."}))
    volume = open_volume(pack(group, tmp_path / "a.zip"))
    assert len(volume.notes) == 1
    np.testing.assert_array_equal(read_level(volume.levels[0]), VALUES)


def test_another_archive_of_the_same_name_is_another_description(table: Path, tmp_path: Path) -> None:
    group = next(store_in(table.parent).rglob("crop1/a"))
    first = open_volume(pack(group, tmp_path / "a.zip")).levels[0].description()
    again = open_volume(tmp_path / "a.zip").levels[0].description()
    (group / "s0" / "0" / "0" / "0").unlink()
    assert again == first
    assert open_volume(pack(group, tmp_path / "a.zip")).levels[0].description() != first


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 not much")
    with pytest.raises(LayoutError, match=r"a\.zip cannot be read"):
        open_volume(tmp_path / "a.zip")


def test_a_folder_called_zip_is_a_folder(tmp_path: Path, write_group: Callable[..., Path]) -> None:
    assert open_volume(write_group(tmp_path / "d.zip" / "em", VALUES)).levels[0].grid.shape == VALUES.shape


# --- URLs ------------------------------------------------------------------------------------------------------------


class Server:
    """Serves a folder, counts what is asked for, and fails when told to."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.failures: dict[str, list[int]] = {}
        """What paths end with, and the status of the next answers."""
        server = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(folder))

            def do_GET(self) -> None:
                server.asked.append(self.path)
                for end, statuses in server.failures.items():
                    if self.path.endswith(end) and statuses:
                        self.send_error(statuses.pop(0))
                        return
                super().do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve ``tmp_path / "data"``."""
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "_FIRST_PAUSE_S", 0.001)
    remote.remote_place.cache_clear()
    started = Server(tmp_path / "data")
    yield started
    started.stop()


def serve(table: Path, server: Server) -> Path:
    """Return a list of the same crops behind the server's address."""
    root = table.parent
    served = root.parent / "remote.csv"
    served.write_text(table.read_text().replace('"d.zarr', f'"{server.url}/d.zarr'))
    assert server.url in served.read_text()
    return served


def test_crops_behind_a_url_have_the_same_counts(table: Path, server: Server) -> None:
    crops = load_crops(serve(table, server), ["a", "b"])
    assert crops.notes == ()
    assert crops.crops[0].crop_id == "d/crop1"
    assert counts(crops) == RIGHT


def test_every_chunk_is_asked_for_once(table: Path, server: Server) -> None:
    crops = load_crops(serve(table, server), ["a"])
    server.asked.clear()
    counts(crops)
    assert len(server.asked) == len(set(server.asked)) == 12


def test_a_group_that_is_not_there_is_not_stored(table: Path, server: Server) -> None:
    group = next(store_in(table.parent).rglob("crop1/b")).relative_to(table.parent).as_posix()
    assert is_stored(Path(f"{server.url}/{group}"))
    assert not is_stored(Path(f"{server.url}/{group}x"))


def test_consolidated_metadata_behind_a_url_are_fetched_once(table: Path, server: Server) -> None:
    store = store_in(table.parent)
    files = [file for file in store.rglob(".z*") if file.is_file()]
    content = {file.relative_to(store).as_posix(): json.loads(file.read_text()) for file in files}
    for file in files:
        file.unlink()
    (store / ".zmetadata").write_text(json.dumps({"metadata": content}))
    assert counts(load_crops(serve(table, server), ["a", "b"])) == RIGHT
    assert sum(path.endswith("/d.zarr/.zmetadata") for path in server.asked) == 1


def test_chunks_of_another_name_are_found_where_folders_cannot_be_listed(table: Path, server: Server) -> None:
    for array in store_in(table.parent).rglob("crop1/?/s0"):
        meta = json.loads((array / ".zarray").read_text())
        (array / ".zarray").write_text(json.dumps(meta | {"dimension_separator": "."}))
    crops = load_crops(serve(table, server), ["a", "b"])
    (note,) = crops.notes
    assert note.text.startswith("a, b: s0: its chunks are named like 0/0/0, its metadata say 0.0.0")
    assert counts(crops) == RIGHT


def test_a_server_that_fails_for_a_moment_is_asked_again(table: Path, server: Server) -> None:
    crops = load_crops(serve(table, server), ["a"])
    server.failures = {"a/s0/0/0/1": [503, 500], "a/s0/1/1/1": [410]}
    with pytest.raises(DamagedChunkError) as caught:
        counts(crops)
    assert "410" in str(caught.value)
    server.failures = {"a/s0/0/0/1": [503, 429]}
    assert counts(crops) == {"a": RIGHT["a"]}


@pytest.mark.parametrize("status", [403, 500, 503])
@pytest.mark.parametrize("end", ["crop1/a/.zattrs", "crop1/a/s0/.zarray"])
def test_a_server_that_refuses_is_never_taken_for_one_without_the_file(
    table: Path, server: Server, status: int, end: str
) -> None:
    server.failures = {end: [status] * 50}
    with pytest.raises(LayoutError, match=end) as caught:
        load_crops(serve(table, server), ["a"])
    assert str(status) in caught.value.found


def test_a_part_of_a_file_is_a_part_whether_the_server_knows_parts_or_not(
    table: Path, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "data" / "x").write_bytes(bytes(range(100)))
    place = place_of(f"{server.url}/x")
    assert place.fetch_part(f"{server.url}/x", 10, 5) == bytes(range(10, 15))
    assert place.fetch_part(f"{server.url}/x", -5, 5) == bytes(range(95, 100))
    assert table.exists()


def test_a_url_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    remote.remote_place.cache_clear()

    def none(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.filesystem", none)
    with pytest.raises(LayoutError, match="s3:// paths cannot be read") as caught:
        is_stored(Path("s3://bucket/x.zarr/em"))
    assert "counterpoise[remote]" in caught.value.remedy


def test_a_server_that_does_not_answer_makes_no_class_missing(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "_FIRST_PAUSE_S", 0.0)
    text = table.read_text(encoding="utf-8").replace('"d.zarr', '"http://127.0.0.1:9/d.zarr')
    table.write_text(text, encoding="utf-8")
    with pytest.raises(LayoutError) as caught:
        load_crops(table, ["a"])
    assert "cannot be fetched" in caught.value.found
