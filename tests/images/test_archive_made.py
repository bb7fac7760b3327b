"""Archives of images in every form that some tool writes: names and files are the same in all of them."""

from __future__ import annotations

import io
import json
from itertools import product
from pathlib import Path

import pytest
from archivemaker import FORMS, PACKINGS, PICTURES, Files, Picture, pack, skopeo_dir

from nacre.images.arrows.archive import Loaded, load, load_folder
from nacre.stores.store import Store
from nacre.words.errors import ContentError, NotFound
from nacre.words.oci import Platform

HERE = Platform("linux", "amd64")
TWO = PICTURES["two images"]
forms = pytest.mark.parametrize("form", FORMS)


class Stream(io.BytesIO):
    """Bytes that cannot be sought."""

    def seekable(self) -> bool:
        return False


def can_say(form: str, pictures: list[Picture]) -> bool:
    """Docker's first form knows an image by its name and its layers."""
    return form != "docker before 1.10" or all(picture.names and picture.layers for picture in pictures)


def check(found: list[Loaded], pictures: list[Picture]) -> None:
    """Each image with its names and the files that its layers leave."""
    assert sorted(loaded.names for loaded in found) == sorted(picture.names for picture in pictures)
    seen = {loaded.names: loaded.image for loaded in found}
    for picture in pictures:
        image = seen[picture.names]
        files = {
            each.path.decode(): image.read(each.path.decode()) for each in image.walk() if each.kind == "file"
        }
        assert files == picture.seen
        assert len(image.layers) == len(picture.layers)


@pytest.mark.parametrize("name", PICTURES)
@forms
def test_every_form_shows_what_it_holds(store: Store, form: str, name: str) -> None:
    pictures = PICTURES[name]
    if can_say(form, pictures):
        check(load(store, Stream(pack(FORMS[form](pictures))), platform=HERE), pictures)


@pytest.mark.parametrize("packing", PACKINGS)
@forms
def test_every_packing_of_every_form(store: Store, form: str, packing: str) -> None:
    """Compressed or not, names with `./`, folders listed, the list of images first or last."""
    files = FORMS[form](TWO)
    for data in (pack(files, prefix="./", folders=True), pack(files, backwards=True)):
        check(load(store, Stream(PACKINGS[packing](data)), platform=HERE), TWO)


@forms
def test_a_folder_of_the_same_files(store: Store, form: str, tmp_path: Path) -> None:
    for number, pictures in enumerate(each for each in PICTURES.values() if can_say(form, each)):
        folder = unpack(FORMS[form](pictures), tmp_path / str(number))
        check(load_folder(store, str(folder), platform=HERE), pictures)


def unpack(files: Files, folder: Path) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if data.startswith(b"-> "):
            (folder / path).symlink_to(data[3:].decode())
        else:
            (folder / path).write_bytes(data)
    return folder


@pytest.mark.parametrize("name", [name for name in PICTURES if len(PICTURES[name]) == 1])
def test_a_folder_of_skopeo(store: Store, tmp_path: Path, name: str) -> None:
    (picture,) = PICTURES[name]
    (loaded,) = load_folder(store, str(unpack(skopeo_dir(picture), tmp_path / "dir")), platform=HERE)
    check([loaded], [picture._replace(names=())])


@forms
def test_an_archive_that_lacks_something_is_refused(form: str, tmp_path: Path) -> None:
    """Any of its files but those that nobody needs, and each of them cut or of another content."""
    files = FORMS[form](TWO)
    for number, path in enumerate(path for path in files if path.rpartition("/")[2] not in spare(files)):
        without = {each: data for each, data in files.items() if each != path}
        cut = files[path].rstrip(b"\0")[:-100]
        for spoiled in (without, without | {path: cut}, without | {path: b"other" * 200}):
            with Store.open(
                str(tmp_path / f"{number}-{len(spoiled.get(path, b''))}-{path in spoiled}")
            ) as store:  # it must not know a blob
                refuse(store, pack(spoiled), f"{form}: {path}")


def spare(files: Files) -> set[str]:
    """Names of files that are not looked at."""
    names = {"oci-layout", "VERSION"}
    names |= {"repositories", "json"} if "manifest.json" in files else set()
    both = {"manifest.json", "index.json"}
    return names | (both if both <= files.keys() else set())


def refuse(store: Store, data: bytes, what: str) -> None:
    try:
        load(store, Stream(data), platform=HERE)
    except (ContentError, NotFound) as error:
        sentence = error.message
    else:
        pytest.fail(f"{what} was taken")
    assert sentence
    assert "\n" not in sentence
    assert store.refs.list() == []


LISTS = ["null", "{}", "[null]", '["x"]', "7", '""', "[[]]", "[{}]", '[{"Config": 1, "Layers": []}]', "[", ""]


@pytest.mark.parametrize("text", LISTS)
def test_a_list_of_images_that_is_none(store: Store, text: str) -> None:
    """In both forms that have one."""
    for form in ("docker to 24", "podman's docker-archive"):
        refuse(store, pack(FORMS[form](TWO) | {"manifest.json": text.encode()}), text)


WRONG = [1, True, {}, [], ["x"], {"x": "y"}, "nope", "/etc/hostname", "../../../etc/hostname", ""]


@pytest.mark.parametrize("field", ["Config", "Layers", "RepoTags"])
@pytest.mark.parametrize("value", WRONG, ids=json.dumps)
def test_a_list_whose_fields_are_wrong(store: Store, field: str, value: object) -> None:
    files = FORMS["docker to 24"](PICTURES["one layer"])
    (row,) = json.loads(files["manifest.json"])
    if field == "RepoTags" and value in ([], ["x"], {}, ""):
        return  # none, or a name
    refuse(store, pack(files | {"manifest.json": json.dumps([row | {field: value}]).encode()}), field)


@forms
def test_an_archive_that_is_cut_is_refused(store: Store, form: str) -> None:
    data = pack(FORMS[form](TWO)).rstrip(b"\0")
    for packing, eighths in product(PACKINGS, (0, 3, 7)):
        packed = PACKINGS[packing](data)
        refuse(store, packed[: len(packed) * eighths // 8 + 1], f"{eighths}/8 of {form}, {packing}")
