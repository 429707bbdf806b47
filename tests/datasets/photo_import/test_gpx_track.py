import numpy as np
import pytest

from keras_sare.datasets.photo_import import gpx_track
from keras_sare.datasets.photo_import.gpx_track import GpxTrack, parse_time

HEAD = '<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/1">'
NOON = parse_time("2026-05-01T12:00:00Z")


def point(second, latitude, longitude):
    time = f"2026-05-01T{12 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
    return f'<trkpt lat="{latitude}" lon="{longitude}"><ele>3</ele><time>{time}</time></trkpt>'


def write(path, *points, head=HEAD):
    path.write_text(f"{head}<trk><name>walk</name><trkseg>{''.join(points)}</trkseg></trk></gpx>")
    return path


def at(track, *seconds):
    return np.stack(track.at(NOON + np.array(seconds, np.float64)), axis=1)


def test_positions_in_between_lie_on_the_straight_line(tmp_path):
    track = GpxTrack([write(tmp_path / "a.gpx", point(60, 48.002, 11.004), point(0, 48.0, 11.0))])
    np.testing.assert_allclose(at(track, 0, 15, 60), [[48, 11], [48.0005, 11.001], [48.002, 11.004]], atol=1e-9)


def test_times_outside_of_a_track_and_in_long_gaps_are_not_covered(tmp_path):
    points = [point(0, 48, 11), point(600, 48.01, 11), point(660, 48.011, 11)]
    track = GpxTrack([write(tmp_path / "a.gpx", *points)])
    assert track.covers(NOON + np.array([-60, -4, 0, 300, 596, 630, 664, 700])).tolist() == [
        False, True, True, False, True, True, True, False,
    ]  # fmt: skip
    assert np.isnan(at(track, 300)).all()


def test_who_stands_still_needs_no_points(tmp_path):
    track = GpxTrack([write(tmp_path / "a.gpx", point(0, 48, 11), point(3000, 48.0001, 11))])
    assert track.covers(NOON + np.array([1500.0])).all()


def test_a_track_crosses_the_date_line(tmp_path):
    track = GpxTrack([write(tmp_path / "a.gpx", point(0, 0, 179.999), point(60, 0, -179.999))])
    np.testing.assert_allclose(at(track, 15, 45)[:, 1], [179.9995, -179.9995], atol=1e-9)


def test_files_are_put_together_by_time(tmp_path):
    paths = [write(tmp_path / "b.gpx", point(60, 2, 2)), write(tmp_path / "a.gpx", point(0, 1, 1), point(0, 1, 1))]
    assert GpxTrack(paths).seconds.tolist() == [NOON, NOON + 60]


def test_a_clock_that_fits_is_found(tmp_path):
    track = GpxTrack([write(tmp_path / "a.gpx", *(point(60 * i, 48 + i / 1e4, 11) for i in range(30)))])
    assert track.likely_offset(NOON + 2 * 3600 + np.arange(0, 1700, 100)) == (7200, 17)


def test_points_without_time_or_position_are_left_out(tmp_path):
    noon = "<time>2026-05-01T12:00:00Z</time>"
    bad = f'<trkpt lat="1" lon="2"></trkpt><trkpt lat="x" lon="2">{noon}</trkpt><trkpt lat="95" lon="2">{noon}</trkpt>'
    bad += '<trkpt lat="1" lon="2"><time>?</time></trkpt>'
    assert len(GpxTrack([write(tmp_path / "a.gpx", bad, point(0, 1, 1))]).seconds) == 1
    with pytest.raises(ValueError, match=r"`gpx` must hold trkpt with lat, lon and time. .*b.gpx without one"):
        GpxTrack([write(tmp_path / "b.gpx", bad)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be whole GPX files .no element found"),
        (HEAD + "<trk>", "must be whole GPX files .no element found"),
        ("not XML", "must be whole GPX files .syntax error"),
        ('<!DOCTYPE g [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><gpx>&c;</gpx>', "without a document type"),
        ('<!DOCTYPE gpx SYSTEM "file:///etc/passwd"><gpx></gpx>', "without a document type"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    (tmp_path / "a.gpx").write_text(text)
    with pytest.raises(ValueError, match=f"`gpx` must be .*{message.removeprefix('must be ')}.*a.gpx"):
        GpxTrack([tmp_path / "a.gpx"])


def test_a_large_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(gpx_track, "MOST_BYTES", 2**20)
    with (tmp_path / "a.gpx").open("wb") as file:
        file.truncate(2**21)
    with pytest.raises(ValueError, match="at most 1 MiB; cut the track. Received: .* of 2 MiB"):
        GpxTrack([tmp_path / "a.gpx"])


@pytest.mark.parametrize("text", ["2026-05-01T12:00:00Z", " 2026-05-01T14:00:00+02:00\n", "2026-05-01T12:00:00"])
def test_times_are_of_any_zone(text):
    assert parse_time(text) == NOON
