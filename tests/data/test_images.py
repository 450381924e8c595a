"""Decoding: the pixels are right for every kind of image, and what is none is told apart."""

import io
import signal
import tempfile
import zlib

import numpy as np
import pytest
from PIL import Image

from minifl.data import images, tree
from minifl.errors import InputError


def saved(image, form="PNG", **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def random(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


# One image

@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back(form):
    x = random(5, 7)
    pixels, resized = images.to_array(saved(Image.fromarray(x), form))
    assert np.array_equal(pixels, x) and pixels.dtype == np.uint8 and not resized


def test_jpeg_webp_and_gif():
    x = np.broadcast_to(np.array([200, 100, 50], np.uint8), (16, 16, 3))
    for form in ("JPEG", "WEBP", "GIF"):
        pixels, _ = images.to_array(saved(Image.fromarray(x), form))
        assert pixels.shape == x.shape and np.abs(pixels.astype(int) - x).max() <= 3


def test_gray_palette_and_bilevel_become_rgb():
    x = random(5, 7, 1)[..., 0]
    pixels, _ = images.to_array(saved(Image.fromarray(x)))
    assert np.array_equal(pixels, np.repeat(x[..., None], 3, -1))
    palette = Image.fromarray(random(5, 7)).quantize(4)
    assert np.array_equal(images.to_array(saved(palette))[0], np.asarray(palette.convert("RGB")))
    assert set(np.unique(images.to_array(saved(Image.fromarray(x > 99)))[0])) == {0, 255}


def test_gray_on_request():
    x = random(5, 7)
    pixels, _ = images.to_array(saved(Image.fromarray(x)), gray=True)
    assert pixels.shape == (5, 7, 1)
    assert np.abs(pixels[..., 0] - x @ np.array([0.299, 0.587, 0.114])).max() <= 1


def test_transparency_falls_on_white():
    x = random(4, 4, 4)
    x[0, :, 3], x[1, :, 3], x[2, :, 3] = 0, 255, 128
    pixels, _ = images.to_array(saved(Image.fromarray(x, "RGBA")))
    assert (pixels[0] == 255).all() and np.array_equal(pixels[1], x[1, :, :3])
    assert np.abs(pixels[2] - (x[2, :, :3] * (128 / 255) + 255 * (127 / 255))).max() <= 2
    indexed = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    indexed.putpalette([9, 9, 9, 200, 0, 0])
    assert images.to_array(saved(indexed, transparency=0))[0].tolist() == [[[255] * 3, [200, 0, 0]]]


def test_orientation_of_a_camera():
    x = random(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6    # the camera was turned: rotate by 90 degrees clockwise
    assert np.array_equal(images.to_array(saved(Image.fromarray(x), exif=exif))[0], np.rot90(x, -1))


def test_resizing_is_the_mean_of_what_a_pixel_covers_and_takes_the_middle():
    smooth = np.add.outer(np.arange(24), np.arange(40)).astype(np.uint8)[..., None].repeat(3, -1) * 4
    pixels, resized = images.to_array(saved(Image.fromarray(smooth)), size=6)
    blocks = smooth[:, 8:32].reshape(6, 4, 6, 4, 3).mean((1, 3))
    assert resized and pixels.shape == (6, 6, 3)
    assert np.abs(pixels.astype(float) - blocks)[1:-1, 1:-1].max() <= 1      # the filter is cut at the border
    checker = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(images.to_array(saved(Image.fromarray(checker)), size=16)[0].astype(int) - 127).max() < 10


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (3, 3)])
def test_a_square_of_that_size_stays_and_small_images_grow(shape):
    x = random(*shape)
    pixels, resized = images.to_array(saved(Image.fromarray(x)), size=3)
    assert pixels.shape == (3, 3, 3) and resized == (shape != (3, 3))
    assert resized or np.array_equal(pixels, x)
    assert images.to_array(saved(Image.fromarray(x)), size=20)[0].shape == (20, 20, 3)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "TIFF, big-endian", "PGM"])
def test_sixteen_bits_are_scaled_and_not_cut_off(form):
    x = np.concatenate([[0, 1, 128, 129, 255, 256, 257, 32767, 32768, 65406, 65407, 65535],
                        np.random.default_rng(0).integers(0, 65536, 88)]).astype(np.uint16).reshape(10, 10)
    if form == "PGM":
        content = b"P5 10 10 65535\n" + x.astype(">u2").tobytes()
    else:
        image = Image.frombytes("I;16B", (10, 10), x.astype(">u2").tobytes()) if "big" in form else Image.fromarray(x)
        content = saved(image, form.split(",")[0])
    pixels, _ = images.to_array(content)
    expected = np.array([[round(int(v) * 255 / 65535) for v in row] for row in x])     # no v is halfway between two
    assert np.array_equal(pixels, expected[..., None].repeat(3, -1)) and pixels.dtype == np.uint8
    assert np.array_equal(images.to_array(content, gray=True)[0][..., 0], expected)
    assert images.to_array(content, size=4)[0].shape == (4, 4, 3)


def test_jfif_and_avif_by_their_content():
    x = np.broadcast_to(np.array([200, 100, 50], np.uint8), (16, 16, 3))
    assert {".jfif", ".avif"} <= set(tree.SUFFIXES)
    Image.init()
    if "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow cannot write AVIF")
    assert np.abs(images.to_array(saved(Image.fromarray(x), "AVIF"))[0].astype(int) - x).max() <= 3


def test_a_pillow_without_avif_is_said(monkeypatch):
    monkeypatch.setattr(images, "FORMATS", tuple(form for form in images.FORMATS if form != "AVIF"))
    for brand in (b"avif", b"avis"):
        with pytest.raises(ValueError, match="AVIF, which Pillow 11.3"):
            images.to_array(b"\0\0\0\x20ftyp" + brand + bytes(40))


def test_what_is_no_image_here():
    for deep in (np.arange(6, dtype=np.int32).reshape(2, 3), np.ones((2, 3), np.float32)):
        with pytest.raises(ValueError, match="more than 16 bits a channel, or real numbers"):
            images.to_array(saved(Image.fromarray(deep), "TIFF"))
    for content in (b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x00\x00\x01\x00" * 9):
        with pytest.raises(ValueError, match="not an image of any of the formats"):
            images.to_array(content)


@pytest.mark.parametrize("pixels", [100_000_000, 1_000_000_000])
def test_decompression_bombs(pixels):
    """A PNG that says to be huge: Pillow warns of the one and refuses the other, both are errors here."""
    side = int(pixels ** 0.5)
    content = bytearray(saved(Image.new("L", (9, 9))))
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    with pytest.raises(Exception, match="decompression bomb"):
        images.to_array(bytes(content))


# All of them

def decode(files, folder, **options):
    return images.decode(files, files.__getitem__, folder, **options)


def test_order_bad_ones_and_hash(tmp_path):
    x = [random(4, 5, seed=i) for i in range(5)]
    files = {f"{i}.png": saved(Image.fromarray(x[i])) for i in range(5)} | {"3.png": b"bad"}
    done = decode(files, tmp_path)
    assert np.array_equal(done.pixels, [x[0], x[1], x[2], x[4]]) and not done.pixels.flags.writeable
    assert isinstance(done.pixels.base, np.memmap) and list(tmp_path.iterdir()) == []
    assert done.kept.tolist() == [True, True, True, False, True]
    assert [name for name, _ in done.bad] == ["3.png"] and done.resized == 0
    renamed = {f"x{name}": content for name, content in files.items()}
    assert decode(renamed, tmp_path).sha256 == done.sha256
    assert decode(dict(reversed(files.items())), tmp_path).sha256 != done.sha256
    assert decode({**files, "0.png": files["0.png"] + b" "}, tmp_path).sha256 != done.sha256


def test_whatever_reading_raises_is_a_bad_image(tmp_path):
    def read(name):
        if name == "good":
            return saved(Image.fromarray(random(4, 4)))
        raise {"io": OSError("gone"), "run": RuntimeError("encrypted"), "key": KeyError("x"),
               "none": IndexError()}[name]
    done = images.decode(["io", "run", "good", "key", "none"], read, tmp_path)
    assert done.bad == [("io", "gone"), ("run", "encrypted"), ("key", "'x'"), ("none", "IndexError")]
    with pytest.raises(InputError, match="2 images cannot be read:\n  io: gone\n  run: encrypted"):
        images.decode(["run", "io"], read, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        images.decode(["x"], lambda name: (_ for _ in ()).throw(KeyboardInterrupt), tmp_path)


def test_names_cannot_reach_the_terminal():
    message = images.bad_images([("a\x1b[31m\udcff.png", "b\nad")])
    assert message == "1 image cannot be read:\n  'a\\x1b[31m\\udcff.png': 'b\\nad'"


class Full(io.RawIOBase):
    """A file on a full disk."""

    def write(self, content):
        raise OSError(28, "No space left on device")


def test_full_disk_and_interruption_leave_nothing(tmp_path, monkeypatch):
    files = {str(i): saved(Image.fromarray(random(4, 4))) for i in range(3)}
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", lambda dir: Full())
        with pytest.raises(InputError, match="cannot be written.*space for the images twice"):
            decode(files, tmp_path)

    def interrupted():
        yield "0"
        signal.raise_signal(signal.SIGINT)
        yield "1"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)    # in the background it is ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            images.decode(interrupted(), files.__getitem__, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []
