"""How requests are cut, sent again and given up: against a server that does what the test says."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import numpy as np
import pytest

from serving.client import Connection, EmbeddingClient, EmbeddingError, RequestSettings

Code = grpc.StatusCode
TOO_LARGE = [
    (Code.INVALID_ARGUMENT, 'input "image_bytes" must hold at most 3 images; send the others in further requests.'),
    (Code.RESOURCE_EXHAUSTED, "Received message larger than max (70000000 vs. 67108864)"),
    (Code.INVALID_ARGUMENT, "Task size 4 is larger than maximum input batch size 3"),
]


class Waits(list):
    """Keeps the seconds that were to be waited, and does not wait."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def client(scripted_address: str, waits: Waits) -> Iterator[EmbeddingClient]:
    settings = RequestSettings(concurrency=1, sleep=waits, random=lambda: 1.0)
    with EmbeddingClient(scripted_address, settings=settings) as client:
        yield client


def first(times: int, code: Code, text: str = "busy") -> Callable[[Any], tuple[Code, str] | None]:
    """Refuses the first requests."""
    left = iter(range(times))
    return lambda _: (code, text) if next(left, None) is not None else None


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.CANCELLED])
def test_what_the_server_could_not_take_is_sent_again_after_ever_longer_waits(
    client: EmbeddingClient, scripted: Any, contents: list[bytes], photos: list[str], waits: Waits, code: Code
) -> None:
    scripted.refuse = first(7, code)
    np.testing.assert_array_equal(client.embed_files(photos, 16), scripted.embeddings(contents))
    assert scripted.received == [contents] * 8
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 10]


def test_waits_are_shortened_at_random_by_up_to_a_half() -> None:
    assert RequestSettings(first_wait=2, random=lambda: 0.0).wait(2) == 2
    drawn = [RequestSettings(first_wait=2).wait(2) for _ in range(100)]
    assert 2 <= min(drawn) < 2.5 < 3.5 < max(drawn) <= 4


def test_retries_end(client: EmbeddingClient, scripted: Any, photos: list[str], waits: Waits) -> None:
    scripted.refuse = first(10**6, Code.UNAVAILABLE, "down for good")
    with pytest.raises(EmbeddingError, match="UNAVAILABLE: down for good. While embedding .*00.jpg, .*02.jpg$"):
        client.embed_files(photos[:3])
    assert len(scripted.received) == 9
    assert len(waits) == 8


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.INTERNAL, Code.DEADLINE_EXCEEDED, Code.PERMISSION_DENIED])
def test_what_would_fail_again_is_not_sent_again(
    client: EmbeddingClient, scripted: Any, photos: list[str], waits: Waits, code: Code
) -> None:
    scripted.refuse = first(1, code, "no")
    with pytest.raises(EmbeddingError, match=f"{code.name}: no"):
        list(client.stream_files(photos))
    assert waits == []


@pytest.mark.parametrize("refusal", TOO_LARGE)
def test_a_batch_that_the_server_refuses_as_too_large_is_sent_in_parts(
    client: EmbeddingClient,
    scripted: Any,
    contents: list[bytes],
    photos: list[str],
    waits: Waits,
    refusal: tuple[Code, str],
) -> None:
    scripted.refuse = lambda files: refusal if len(files) > 3 else None
    np.testing.assert_array_equal(client.embed_files(photos, 16), scripted.embeddings(contents))
    assert [len(files) for files in scripted.received] == [11, 5, 2, 3, 6, 3, 3]
    assert waits == []


def test_a_message_beyond_what_grpc_takes_is_sent_in_parts(
    client: EmbeddingClient, scripted: Any, tmp_path: Path
) -> None:
    contents = [bytes([number]) * 300_000 for number in range(1, 9)]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.png").write_bytes(content)
    result = client.embed_files([tmp_path / f"{number}.png" for number in range(8)])
    np.testing.assert_array_equal(result, scripted.embeddings(contents))
    assert [len(files) for files in scripted.received] == [2, 2, 2, 2]


def test_one_image_that_is_too_large_is_an_error(client: EmbeddingClient, scripted: Any, photos: list[str]) -> None:
    scripted.refuse = lambda files: TOO_LARGE[1] if len(files[-1]) > 70 else None
    with pytest.raises(EmbeddingError, match=r"larger than max.*While embedding \S*09.jpg$"):
        client.embed_files(photos)
    answers = list(client.stream_files(photos))
    assert [bool(error) for answer in answers for error in answer.errors] == [False] * 9 + [True] * 2


def test_images_are_cut_by_their_bytes_and_sent_in_parts(address: str, pictures: np.ndarray, embeddings: Any) -> None:
    for max_bytes in (1, 2 * 8 * 8 * 3 * 4, 10**9):
        with EmbeddingClient(address, settings=RequestSettings(max_bytes=max_bytes)) as client:
            np.testing.assert_allclose(client.embed_images(pictures), embeddings, atol=1e-6)
    many = np.repeat(pictures, 8, axis=0)
    with EmbeddingClient(address) as client:  # The server takes 16.
        np.testing.assert_allclose(client.embed_images(many, 40), np.repeat(embeddings, 8, axis=0), atol=1e-6)


@pytest.mark.parametrize(("max_bytes", "sizes"), [(10**6, [4, 4, 3]), (60, [3, 1, 1, 1, 1, 4]), (10, [4, 4, 3])])
def test_files_are_put_together_by_number_and_bytes(
    scripted_address: str, contents: list[bytes], photos: list[str], max_bytes: int, sizes: list[int]
) -> None:
    settings = RequestSettings(max_bytes=max_bytes)
    with EmbeddingClient(scripted_address, settings=settings) as client:
        answers = list(client.stream_files(photos, 4))
    assert [len(answer.paths) for answer in answers] == sizes
    assert [path for answer in answers for path in answer.paths] == photos
    errors = [error for answer in answers for error in answer.errors]
    for content, error in zip(contents, errors, strict=True):
        expected = (
            "" if len(content) <= max_bytes else f"larger than `max_bytes`, {max_bytes}, which one request may have"
        )
        assert error == expected


@pytest.mark.parametrize("signature", ["tolerant", "serving_default"])
def test_damaged_and_missing_photos_do_not_fail_the_others(
    client: EmbeddingClient, scripted: Any, contents: list[bytes], photos: list[str], tmp_path: Path, signature: str
) -> None:
    Path(photos[1]).write_bytes(b"damaged")
    Path(photos[6]).write_bytes(b"damaged, too")
    Path(photos[4]).unlink()
    Path(photos[8]).unlink()
    Path(photos[8]).mkdir()
    answers = list(client.stream_files(photos, 5, signature))
    errors = [error for answer in answers for error in answer.errors]
    assert errors == ["", "broken", "", "", "missing", "", "broken", "", "not a file", "", ""]
    well = [content for content, error in zip(contents, errors, strict=True) if not error]
    found = np.concatenate([answer.embeddings for answer in answers])
    np.testing.assert_array_equal(found, scripted.embeddings(well))


def test_files_of_which_none_can_be_read_are_not_sent(client: EmbeddingClient, scripted: Any, tmp_path: Path) -> None:
    [answer] = client.stream_files([tmp_path / "a.jpg", "zero\0byte.jpg"])
    assert answer.errors == ["missing", "embedded null byte"]
    assert answer.embeddings.shape == (0, 0)
    assert scripted.received == []


def test_several_requests_are_under_way_and_answers_keep_their_order(
    scripted_address: str, scripted: Any, contents: list[bytes], photos: list[str]
) -> None:
    second = Event()

    def before(request: Any, _: Any) -> None:
        # The first request is answered only when the second one is there too.
        if request.inputs["image_bytes"].string_val[0] != contents[0]:
            second.set()
        assert second.wait(20)

    scripted.before = before
    with EmbeddingClient(scripted_address, settings=RequestSettings(concurrency=2)) as client:
        np.testing.assert_array_equal(client.embed_files(photos, 1), scripted.embeddings(contents))


def test_photos_are_read_only_a_few_batches_ahead(client: EmbeddingClient, photos: list[str]) -> None:
    taken = []

    def paths() -> Iterator[str]:
        for photo in photos:
            taken.append(photo)
            yield photo

    answers = client.stream_files(paths(), 1)
    next(answers)
    assert len(taken) <= 4
    answers.close()


def test_where_one_request_fails_those_under_way_are_given_up(
    scripted_address: str, scripted: Any, photos: list[str], contents: list[bytes]
) -> None:
    began = Event()
    cancelled = Event()

    def before(request: Any, context: Any) -> None:
        if request.inputs["image_bytes"].string_val[0] == contents[0]:
            began.wait(20)
            context.abort(Code.INTERNAL, "the first")
        context.add_callback(cancelled.set)
        began.set()
        cancelled.wait(20)

    scripted.before = before
    with EmbeddingClient(scripted_address) as client, pytest.raises(EmbeddingError, match="the first"):
        client.embed_files(photos, 1)
    assert cancelled.wait(20)


def test_all_requests_end_with_the_deadline(scripted_address: str, scripted: Any, photos: list[str]) -> None:
    now = [0.0]
    asked = []

    def before(_: Any, context: Any) -> None:
        asked.append(context.time_remaining())
        now[0] += 4

    scripted.before = before
    settings = RequestSettings(concurrency=1, deadline=10, clock=lambda: now[0])
    with EmbeddingClient(scripted_address, timeout=7, settings=settings) as client:
        text = "All requests must end within `deadline` seconds; raise it. Received: deadline=10"
        with pytest.raises(TimeoutError, match=text):
            client.embed_files(photos, 2)
    assert [round(seconds) for seconds in asked] == [7, 6, 2]


def test_no_wait_goes_beyond_the_deadline(
    scripted_address: str, scripted: Any, photos: list[str], waits: Waits
) -> None:
    scripted.refuse = first(100, Code.UNAVAILABLE)
    settings = RequestSettings(first_wait=8, deadline=5, sleep=waits, random=lambda: 1.0)
    with (
        EmbeddingClient(scripted_address, settings=settings) as client,
        pytest.raises(TimeoutError, match="deadline=5"),
    ):
        client.embed_files(photos)
    assert waits == []


def test_a_version_that_is_asked_for_is_sent(scripted_address: str, scripted: Any, photos: list[str]) -> None:
    for version in (None, 0, 7):
        with EmbeddingClient(scripted_address, settings=RequestSettings(version=version)) as client:
            client.embed_files(photos[:1])
        spec = scripted.specs[-1]
        assert (spec.HasField("version"), spec.version.value) == (version is not None, version or 0)


def test_versions_and_signatures_are_told(client: EmbeddingClient, scripted: Any) -> None:
    assert client.versions() == [7]
    assert client.signatures() == {
        "serving_default": ({"image_bytes"}, {"embedding"}),
        "tolerant": ({"image_bytes"}, {"embedding", "error"}),
    }
    scripted.state = 20
    with pytest.raises(RuntimeError, match="must have a version that is available.*version 7 in state LOADING"):
        client.versions()


def test_the_embedded_server_tells_its_versions_and_signatures(address: str) -> None:
    with EmbeddingClient(address) as client:
        assert client.versions() == [7]
        assert client.signatures()["serving_default"] == ({"image_bytes"}, {"embedding"})


def test_an_unknown_model_is_told(scripted_address: str) -> None:
    text = "NOT_FOUND: .*While looking for model other"
    with EmbeddingClient(scripted_address, "other") as client, pytest.raises(EmbeddingError, match=text):
        client.versions()


def test_a_signature_that_is_not_there_is_told(address: str, files: list[Path]) -> None:
    with EmbeddingClient(address) as client, pytest.raises(EmbeddingError, match="FAILED_PRECONDITION.*unknown"):
        list(client.stream_files(files[:1], 8, "unknown"))


def test_a_token_is_sent_and_a_socket_of_the_machine_is_an_address(
    listen: Callable[..., int], scripted: Any, photos: list[str], contents: list[bytes], tmp_path: Path
) -> None:
    address = f"unix:{tmp_path}/s"
    listen(address)
    with EmbeddingClient(address, connection=Connection(token="secret")) as client:
        np.testing.assert_array_equal(client.embed_files(photos), scripted.embeddings(contents))
    assert {sent["authorization"] for sent in scripted.metadata} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("address", "warned"),
    [("localhost:1", False), ("unix:/tmp/x", False), ("127.0.0.1:1", False), ("localhost.example.org:1", True)],
)
def test_a_token_without_encryption_is_warned_of(address: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    EmbeddingClient(address, connection=Connection(token="secret")).close()
    assert bool(caplog.messages) == warned
    assert "secret" not in caplog.text


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with a server's and a client's key and certificate, each its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    for name in ("server", "client"):
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
        files = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")]
        subprocess.run([*command.split(), "subjectAltName=DNS:localhost", *files], check=True, capture_output=True)
    return tmp_path


def test_both_sides_may_prove_who_they_are(
    listen: Callable[..., int], scripted: Any, certificates: Path, photos: list[str], contents: list[bytes]
) -> None:
    pair = ((certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes())
    trusted = (certificates / "client.pem").read_bytes()
    address = f"localhost:{listen('localhost:0', grpc.ssl_server_credentials([pair], trusted, True))}"
    ca = certificates / "server.pem"
    own = Connection(tls=True, ca=ca, cert=certificates / "client.pem", key=certificates / "client.key")
    settings = RequestSettings(retries=0)
    with EmbeddingClient(address, connection=own, settings=settings) as client:
        np.testing.assert_array_equal(client.embed_files(photos), scripted.embeddings(contents))
    for other in (Connection(tls=True, ca=ca), Connection(tls=True), Connection()):
        client = EmbeddingClient(address, connection=other, settings=settings)
        with client, pytest.raises(EmbeddingError, match="UNAVAILABLE"):
            client.embed_files(photos)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"ca": "a.pem"}, "`ca`, `cert` and `key` must come with `tls`"),
        ({"tls": True, "cert": "a.pem"}, "`cert` and `key` must come together"),
        ({"token": "two words"}, "`token` must be printable ASCII without spaces, and not empty"),
        ({"token": ""}, "`token` must be printable ASCII"),
        ({"max_message_bytes": 0}, "`max_message_bytes` must be at least 1. Received: max_message_bytes=0"),
    ],
)
def test_connections_that_cannot_be_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Connection(**arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_bytes", 0),
        ("concurrency", 0),
        ("retries", -1),
        ("first_wait", 0),
        ("longest_wait", float("nan")),
        ("deadline", -1),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: {name}={value}"):
        RequestSettings(**{name: value})


def test_a_request_beyond_the_clients_own_limit_of_a_message_is_sent_in_parts(
    scripted_address: str, photos: list[str]
) -> None:
    connection = Connection(max_message_bytes=1000)
    with EmbeddingClient(scripted_address, connection=connection) as client:
        expected = client.embed_files(photos * 3, 3)
        np.testing.assert_array_equal(client.embed_files(photos * 3, 33), expected)


def test_a_server_that_is_restarted_loses_nothing(
    listen: Any, scripted: Any, contents: list[bytes], photos: list[str]
) -> None:
    restarted = Event()

    def restart() -> None:
        listen.restart()
        restarted.set()

    address = f"127.0.0.1:{listen()}"
    fourth = iter([False, False, False, True])

    def before(*_: Any) -> None:
        if next(fourth, False):
            Thread(target=restart).start()

    scripted.before = before
    settings = RequestSettings(first_wait=0.1, longest_wait=0.2, retries=100)
    with EmbeddingClient(address, settings=settings) as client:
        np.testing.assert_array_equal(client.embed_files(photos, 1), scripted.embeddings(contents))
    assert restarted.wait(20)


def test_clients_of_several_threads_share_a_connection(
    client: EmbeddingClient, scripted: Any, photos: list[str]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert {len(one) for one in pool.map(lambda _: client.embed_files(photos, 2), range(8))} == {11}
