import pytest

from keras_sare.datasets import open_dataset, open_splits

HEADER = "place_id,year,month,northdeg,city_id,lat,lon,panoid"


def write(root, city, *rows, header=HEADER):
    for folder in ("Dataframes", f"Images/{city}"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "Dataframes" / f"{city}.csv").write_text("\n".join([header, *rows]))


def test_the_newest_photo_of_a_place_is_looked_up_among_the_others(tmp_path):
    write(
        tmp_path,
        "Oslo",
        "7,2019,4,9,Oslo,59.9,10.25,a_1",
        "7,2021,12,350,Oslo,59.9,10.25,b",
        "7,2021,2,350,Oslo,59.9,10.25,c",
        "8,2021,1,0,Oslo,-5.0,10.25,d",
    )
    write(tmp_path, "Bergen", "100007,2015,1,0,Bergen,60.4,5.3,e", "100007,2014,1,0,Bergen,60.4,5.3,f")
    assert list(open_splits(tmp_path)) == ["train"]
    dataset = open_dataset(tmp_path, "train")
    names = [path.removeprefix(f"{tmp_path}/Images/") for path in dataset.paths.tolist()]
    assert names == [
        "Bergen/Bergen_0000007_2014_01_000_60.4_5.3_f.jpg",
        "Oslo/Oslo_0000007_2019_04_009_59.9_10.25_a_1.jpg",
        "Oslo/Oslo_0000007_2021_02_350_59.9_10.25_c.jpg",
        "Oslo/Oslo_0000008_2021_01_000_-5.0_10.25_d.jpg",
        "Bergen/Bergen_0000007_2015_01_000_60.4_5.3_e.jpg",
        "Oslo/Oslo_0000007_2021_12_350_59.9_10.25_b.jpg",
    ]
    assert [near.tolist() for near in dataset.positives(radius=25)] == [[0], [1, 2]]
    assert dataset.queries.headings.tolist() == [0, 350]
    assert dataset.queries.timestamps.tolist() == ["2015-01", "2021-12"]
    assert dataset.database.coordinates[3].tolist() == [-5, 10.25]


def test_a_prefix_chooses_cities(tmp_path):
    for city in ("Oslo", "Bergen"):
        write(tmp_path, city, *(f"7,2019,{month},9,{city},59.9,10.25,a" for month in (1, 2)))
    assert open_dataset(tmp_path, "train", prefix="Osl").database.places.tolist() == ["Oslo/7"]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], HEADER, "must list at least one image"),
        ([], HEADER.replace(",lat", ""), "must be a table of GSV-Cities .* without lat"),
        (["x,2019,4,9,Oslo,59.9,10.25,a"], HEADER, "Row 2 of `path` must give the place_id as a whole number.*'x'"),
        (["7,2019,4,9,Oslo,north,10.25"], HEADER, "row 2 .lat='north'. .* as a number; row 2 .panoid=''. must give"),
        (["7,2019,4,9,../x,59.9,10.25,a"], HEADER, "the city_id, without a slash"),
    ],
)
def test_other_tables_are_refused(tmp_path, rows, header, message):
    write(tmp_path, "Oslo", *rows, header=header)
    with pytest.raises(ValueError, match=message) as error:
        open_dataset(tmp_path, "train")
    assert "Oslo.csv" in str(error.value)
