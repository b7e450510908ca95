from pathlib import Path

from tapetum.data.places import digest_of_place, digests, folder_place, place_of


def test_a_pair_has_one_place_in_any_notation():
    places = {
        place_of(Path(path))
        for path in ("/data/LOL_v1/our485/low/10.png", "/mnt/lolv1/our485/high/10.webp", "/lol-v1/our485/10.jpg")
    }
    assert places == {"lolv1/our485/10"}


def test_folders_begin_the_places_of_their_pictures():
    folder = Path("/data/lol_v1/our485/low")
    assert place_of(folder / "7.png") == f"{folder_place(folder)}/7"


def test_digests_are_of_pairs():
    paths = [Path("/d/s/t/low/1.png"), Path("/d/s/t/high/1.png"), Path("/d/s/t/low/2.png")]
    assert digests(paths) == sorted([digest_of_place("s/t/1"), digest_of_place("s/t/2")])
    assert place_of(Path("/a/数据/low/1.png")) == "a/数据/1"
