"""What a file carries beside its pixels is kept or its loss is said, and shows nothing removed.

Files are put together by hand, and read by a few lines that are independent of the product's.
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from pgi.files import segments
from pgi.files.inpaint import Settings, inpaint_files
from pgi.files.jobs import Job
from tests.files.picture_files import (
    FILL,
    HEIGHT,
    HOLE,
    JPEG,
    NOISE,
    OPAQUE,
    OTHER,
    WIDTH,
    chunk,
    decoded,
    encoded,
    filled_any,
    png,
    read_any,
    tiff,
)
from tests.files.test_encoding import ICC

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

THUMBNAIL = encoded(Image.fromarray(OTHER), "JPEG")
BASE64 = base64.b64encode(THUMBNAIL)
XMP = b'<?xpacket?><x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:title>A title</dc:title>%s</x:xmpmeta>'
FOLLOWS = "what follows its end, such as a film or further pictures"
SIGNATURE = "content credentials (C2PA, JUMBF), whose signature would be wrong"
PICTURES = "thumbnails and other pictures inside its metadata, which show what was removed"


def written(content: bytes, format: str | None = None) -> tuple[bytes, tuple[str, ...]]:
    result, picture = filled_any(content, format), read_any(content)
    assert decoded(result).size == decoded(content).size
    return result, picture.lost[format or picture.format]


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg(*parts: bytes, end: bytes = b"") -> bytes:
    """A JPEG with further segments behind its first."""
    content = JPEG["RGB"]
    assert content[2:4] == b"\xff\xe0"
    place = 4 + int.from_bytes(content[4:6], "big")
    return content[:place] + b"".join(parts) + content[place:] + end


def segments_of(content: bytes) -> list[tuple[int, bytes]]:
    """Those before the pixels; without trust in anything but a valid file."""
    found, place = [], 2
    while content[place + 1] != 0xDA:
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        found.append((content[place + 1], content[place + 4 : place + 2 + length]))
        place += 2 + length
    return found


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 8
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        data = content[place + 8 : place + 8 + length]
        assert content[place + 8 + length :][:4] == chunk(content[place + 4 : place + 8], data)[-4:]
        found.append((content[place + 4 : place + 8], data))
        place += 12 + length
    return found


def resource(number: int, data: bytes, name: bytes = b"") -> bytes:
    name = bytes([len(name)]) + name
    name += b"\0" * (len(name) % 2)
    data = struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"8BIM" + struct.pack(">H", number) + name + data


# An IPTC record: 2:120, a caption; 2:116, rights.
RECORDS = b"".join(
    struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text
    for number, text in ((120, b"A caption"), (116, b"Somebody's"))
)
IPTC = resource(1028, RECORDS, b"odd")
RIGHTS = resource(1034, b"\1") + resource(1035, b"https://example.org/") + resource(2001, b"path")


def photoshop(data: bytes) -> bytes:
    return segment(0xED, b"Photoshop 3.0\0" + data)


def xmp_segment(data: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + data)


def extension(data: bytes, total: int, offset: int) -> bytes:
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0123456789ABCDEF" * 2
    return segment(0xE1, head + struct.pack(">II", total, offset) + data)


# JPEG


def test_a_jpeg_keeps_comments_iptc_xmp_and_extended_xmp():
    long = b"<x>" + b"words and words " * 5000 + b"</x>"
    parts = [extension(long[n : n + 60_000], len(long), n) for n in (0, 60_000)]
    content = jpeg(
        segment(0xFE, b"first"),
        xmp_segment(XMP % b""),
        *parts,
        photoshop(IPTC + RIGHTS),
        segment(0xFE, "zwölf".encode("latin-1")),
    )
    result, lost = written(content)
    after = segments_of(result)
    assert [data for marker, data in after if marker == 0xFE] == [b"first", b"zw\xf6lf"]
    assert (0xED, b"Photoshop 3.0\0" + IPTC + RIGHTS) in after
    assert [data for marker, data in after if marker == 0xE1] == [
        data for marker, data in segments_of(content) if marker == 0xE1
    ]
    assert lost == ()


def test_iptc_that_is_longer_than_a_segment_is_joined_and_divided():
    long = resource(1028, bytes(range(250)) * 600)
    result, lost = written(
        jpeg(*(photoshop(long[n : n + 50_001]) for n in range(0, 150_012, 50_001)))
    )
    pieces = [data for marker, data in segments_of(result) if marker == 0xED]
    assert b"".join(piece.removeprefix(b"Photoshop 3.0\0") for piece in pieces) == long
    assert len(pieces) == 3 and lost == ()


SECRET = b"what only this part says"
LOST_OF_JPEG = {
    "a segment that nobody knows": (segment(0xE3, b"Meta\0\0" + SECRET), "APP3 Meta"),
    "one without a name": (segment(0xE5, b"\0\1\2" + SECRET), "APP5"),
    "one whose name would write to the terminal": (segment(0xE6, b"\x1b[2Jab\0" + SECRET), "APP6"),
    "Photoshop's save settings": (
        segment(0xEC, b"Ducky\0\1\0\4\0\0\0\x3c" + SECRET),
        "APP12 Ducky",
    ),
    "C2PA": (segment(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x40jumb\0\0\0\x26jumdc2pa" + SECRET), SIGNATURE),
    "a profile of which a part is missing": (
        segment(0xE2, b"ICC_PROFILE\0\1\2" + SECRET),
        "APP2 ICC_PROFILE",
    ),
    "Photoshop's own settings": (photoshop(resource(1037, SECRET)), "Photoshop's settings"),
    "resources that are none": (photoshop(IPTC + b"PHUT" + SECRET), "Photoshop's settings"),
    "JFIF's thumbnail": (segment(0xE0, b"JFXX\0\x13" + SECRET), PICTURES),
}


@pytest.mark.parametrize("name", LOST_OF_JPEG)
def test_what_a_jpeg_does_not_keep_is_said(name):
    part, kind = LOST_OF_JPEG[name]
    result, lost = written(jpeg(part))
    assert lost == (kind,) and SECRET in part and SECRET not in result


def test_what_follows_a_jpegs_end_is_dropped_and_said():
    film = b"\0\0\0\x18ftypmp42 film"
    assert written(jpeg(end=b"\0" * 9))[1] == ()  # Padding.
    for end in (film, JPEG["RGB"]):
        result, lost = written(jpeg(end=end))
        assert lost == (FOLLOWS,) and result == written(jpeg())[0]


def test_of_several_pictures_in_a_jpeg_the_others_are_dropped_and_said():
    first, second = (Image.fromarray(x) for x in (NOISE, OTHER))
    content = encoded(first, "MPO", save_all=True, append_images=[second], comment="kept")
    assert decoded(content).format == "MPO"
    result, lost = written(content)
    assert lost == (FOLLOWS,) and b"MPF\0" not in result
    assert decoded(result).format == "JPEG" and decoded(result).info["comment"] == b"kept"


@pytest.mark.parametrize(
    "unit, across, thumbnail, lost",
    [
        (0, 1, b"", ()),
        (0, 2, b"", ("aspect ratio of its pixels",)),
        (1, 2, b"", ()),  # A resolution.
        (0, 1, b"RGB", (PICTURES,)),
    ],
)
def test_what_jfif_says_is_kept_or_its_loss_is_said(unit, across, thumbnail, lost):
    size = len(thumbnail) // 3
    head = struct.pack(">BBBHHBB", 1, 1, unit, across, 1, size, size)
    content = JPEG["RGB"][:2] + segment(0xE0, b"JFIF\0" + head + thumbnail) + JPEG["RGB"][20:]
    result, said = written(content)
    assert said == lost and decoded(result).info.get("dpi") == ((2, 1) if unit else None)


def test_an_end_inside_a_segment_is_not_the_end():
    result, lost = written(jpeg(segment(0xFE, b"\xff\xd9 of a comment")))
    assert (0xFE, b"\xff\xd9 of a comment") in segments_of(result) and lost == ()


# Pictures inside


def shows(content: bytes) -> bool:
    """Whether the thumbnail's coded pixels, as bytes or as text, are somewhere in a file."""
    pixels = THUMBNAIL[-200:-100]
    texts = [base64.b64encode(pixels[n:])[4:80] for n in range(3)]
    joined = re.sub(rb"\s|&#xA;", b"", content)
    return pixels in content or any(text in joined for text in texts)


def lines(data: bytes, end: bytes) -> bytes:
    return end.join(data[n : n + 76] for n in range(0, len(data), 76))


IN_XMP = {
    "Photoshop's": (b"<xmp:Thumbnails><xmpGImg:image>%s</xmpGImg:image>", lines(BASE64, b"&#xA;")),
    "in lines": (b"<xap:Thumbnails>%s</xap:Thumbnails>", lines(BASE64, b"\n")),
    "a phone's": (b'<rdf:Description GImage:Mime="image/jpeg" GImage:Data="%s"/>', BASE64),
}


@pytest.mark.parametrize("name", IN_XMP)
@pytest.mark.parametrize("to", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_pictures_in_xmp_are_blanked_and_the_rest_stays(name, to):
    around, picture = IN_XMP[name]
    content = jpeg(xmp_segment(XMP % (around % picture)))
    assert shows(content)
    result, lost = written(content, to)
    assert not shows(result) and lost == (PICTURES,)
    # No byte moves.
    assert decoded(result).info["xmp"] == XMP % (around % (b" " * len(picture)))


def test_a_picture_in_extended_xmp_is_blanked_and_no_byte_moves():
    text = b'<rdf:Description GImage:Data="%s" other="kept"/>' % (BASE64 * 40)
    assert len(text) > 60_000
    parts = [extension(text[n : n + 60_000], len(text), n) for n in (0, 60_000)]
    result, lost = written(jpeg(xmp_segment(XMP % b""), *parts))
    after = [data for marker, data in segments_of(result) if marker == 0xE1][1:]
    joined = b"".join(data[75:] for data in after)
    assert len(joined) == len(text) and joined.endswith(b'" other="kept"/>')
    assert not shows(joined) and lost == (PICTURES,)


@pytest.mark.parametrize(
    "inside",
    [
        resource(1036, b"\0\0\0\1" + bytes(24) + THUMBNAIL),
        resource(1033, bytes(28) + THUMBNAIL),
        resource(1060, XMP % BASE64),
        resource(1058, THUMBNAIL),
        resource(4000, THUMBNAIL),
        # IPTC's own preview, 2:202.
        resource(1028, RECORDS + struct.pack(">BBBH", 0x1C, 2, 202, len(THUMBNAIL)) + THUMBNAIL),
    ],
    ids=["thumbnail", "old thumbnail", "XMP", "EXIF", "of a plug-in", "IPTC's"],
)
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_photoshops_thumbnails_are_dropped_and_iptc_stays(inside, kind):
    data = (b"" if b"8BIM\x04\x04" in inside else IPTC) + inside + RIGHTS
    content = jpeg(photoshop(data))
    if kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[34377] = data
        content = encoded(Image.fromarray(NOISE), "TIFF", tiffinfo=tags)
    assert shows(content)
    result, lost = written(content)
    assert not shows(result) and lost in ((PICTURES,), ("Photoshop's settings",))
    assert RECORDS in result and RIGHTS in result


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_preview_in_a_cameras_notes_is_blanked_and_no_byte_of_them_moves(kind):
    # The preview has a thumbnail of its own.
    inner = segment(0xE1, b"Exif\0\0" + THUMBNAIL)
    preview = THUMBNAIL[:2] + inner + THUMBNAIL[2:]
    notes = b"Maker\0" + bytes(range(99)) + preview + b"after" + b"\xff\xd8\xff\xe1" + b"unfinished"
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8769)[0x927C] = notes
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(Image.fromarray(NOISE), kind, exif=exif.tobytes(), **options)
    result, lost = written(content)
    after = decoded(result).getexif()
    assert after[0x010F] == "Camera"
    assert after.get_ifd(0x8769)[0x927C] == notes.replace(preview, bytes(len(preview)))
    assert lost == (PICTURES,) and not shows(result)


def test_a_jpeg_without_an_end_hides_none_after_it():
    cut, gap = THUMBNAIL[:60], b"between" * 9
    data = b"head" + cut + gap + THUMBNAIL + b"tail"
    expected = b"head" + bytes(len(cut + gap + THUMBNAIL)) + b"tail"
    assert segments.without_pictures(data) == expected


def test_long_words_and_spaces_are_no_pictures():
    text = b"word " * 500 + b"a" * 400 + b" " * 3000 + b"https://example.org/9j/" + b"b/" * 200
    assert segments.without_pictures(text) == text


# PNG


def png_with(*parts: bytes, end: bytes = b"") -> bytes:
    return png(NOISE, 8, 2, *parts) + end


KEPT_CHUNKS = [
    (b"gAMA", struct.pack(">I", 45455)),
    (b"cHRM", struct.pack(">8I", *range(31000, 31008))),
    (b"sRGB", b"\0"),
    (b"tEXt", b"Author\0Somebody"),
    (b"tEXt", b"Comment\0A comment"),
    (b"zTXt", b"Description\0\0" + zlib.compress(b"long " * 99)),
    (b"iTXt", b"Title\0\0\0de\0Titel\0" + "zwölf".encode()),
    (b"bKGD", struct.pack(">HHH", 1, 2, 3)),
]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_keeps_texts_and_colour_chunk_by_chunk(bits):
    samples = NOISE if bits == 8 else NOISE.astype(np.uint16) * 257
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP % b"")
    parts = [chunk(*x) for x in KEPT_CHUNKS] + [chunk(b"iTXt", packed)]
    result, lost = written(png(samples, bits, 2, *parts))
    xmp = (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % b"")
    names = {name for name, _ in KEPT_CHUNKS}
    assert sorted(x for x in chunks_of(result) if x[0] in names) == sorted([*KEPT_CHUNKS, xmp])
    assert chunks_of(result)[-1] == (b"IEND", b"") and lost == ()


UNREADABLE = "texts that cannot be read"
PACKED = zlib.compress(BASE64)
LOST_OF_PNG = {
    "tIME": (chunk(b"tIME", struct.pack(">HBBBBB", 2020, 1, 2, 3, 4, 5)), "tIME chunk"),
    "sBIT": (chunk(b"sBIT", b"\5\6\5"), "sBIT chunk"),
    "a private one": (chunk(b"prVW", b"secret"), "prVW chunk"),
    "C2PA": (chunk(b"caBX", b"\0\0\0\x40jumb"), SIGNATURE),
    "a damaged profile": (chunk(b"iCCP", b"a\0\0no zlib"), "ICC profile, which is damaged"),
    "pixels that are not square": (
        chunk(b"pHYs", struct.pack(">IIB", 2, 1, 0)),
        "aspect ratio of its pixels",
    ),
    "ImageMagick's": (
        chunk(b"tEXt", b"Raw profile type iptc\0\niptc\n       4\n00112233\n"),
        "ImageMagick's raw profiles",
    ),
    "a thumbnail in a text": (chunk(b"tEXt", b"Thumbnail\0" + BASE64), PICTURES),
    "a packed one": (chunk(b"zTXt", b"Thumbnail\0\0" + zlib.compress(BASE64)), PICTURES),
    "one of two languages": (chunk(b"iTXt", b"Thumbnail\0\1\0de\0Bild\0" + PACKED), PICTURES),
    "a text of no encoding": (chunk(b"iTXt", b"Thumbnail\0\0\0\0\0\xff" + BASE64), UNREADABLE),
    "a text that cannot be unpacked": (chunk(b"zTXt", b"Title\0\0no zlib"), UNREADABLE),
    "XMP that cannot be unpacked": (
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0no zlib"),
        UNREADABLE,
    ),
    "a text without end": (chunk(b"zTXt", b"Title\0\0" + PACKED[:-9]), UNREADABLE),
}


@pytest.mark.parametrize("name", LOST_OF_PNG)
def test_what_a_png_does_not_keep_is_said(name):
    part, kind = LOST_OF_PNG[name]
    result, lost = written(png_with(part))
    assert lost == (kind,)
    assert [x for x, _ in chunks_of(result)] == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_of_two_texts_of_one_name_each_is_looked_at(kind, order):
    picture = BASE64 if kind == b"tEXt" else b"\0" + PACKED
    parts = [chunk(kind, b"Thumb\0" + picture), chunk(b"tEXt", b"Thumb\0hello")]
    result, lost = written(png_with(b"".join(parts[::order])))
    assert lost == (PICTURES,) and (b"tEXt", b"Thumb\0hello") in chunks_of(result)
    assert [name for name, _ in chunks_of(result)].count(kind) == (kind == b"tEXt")


def test_how_pixels_are_stored_is_no_loss():
    plain = encoded(Image.fromarray(NOISE), dpi=(300, 300), icc_profile=ICC)
    apple = chunk(b"iDOT", bytes(28))
    for content in (*OPAQUE.values(), *JPEG.values(), plain, png_with(apple)):
        assert written(content)[1] == ()


def test_what_follows_a_pngs_end_is_dropped_and_said():
    """Editors that overwrote a longer file have left the old picture's end there."""
    result, lost = written(png_with(end=OPAQUE["RGB"][50:]))
    assert lost == (FOLLOWS,) and result == written(png_with())[0]


def test_exif_in_imagemagicks_text_becomes_exif():
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    text = b"\nexif\n%8d\n%s\n" % (len(exif.tobytes()), exif.tobytes().hex().encode())
    content = png_with(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))
    result, lost = written(content)
    assert decoded(result).getexif()[0x010F] == "Camera" and lost == ()


# WebP, TIFF, BMP


def test_what_a_webp_does_not_keep_is_said():
    webp = encoded(Image.fromarray(NOISE), "WEBP", lossless=True, exif=b"II*\0\x08\0\0\0\0\0")
    further = b"abcd\3\0\0\0xyz\0" + b"C2PA\2\0\0\0ab"
    size = len(webp) - 8 + len(further)
    content = webp[:4] + struct.pack("<I", size) + webp[8:] + further
    result, lost = written(content + b"more")
    assert lost == ("abcd chunk", SIGNATURE, FOLLOWS)
    assert b"xyz" not in result and written(webp)[1] == ()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_keeps_iptc_and_names_the_tags_that_it_loses(bits, compression):
    extra: list[Any] = [
        (33723, 7, None, RECORDS, True),
        (33550, 12, 3, (1.0, 1.0, 0.0), True),
        (50000, 2, None, b"private", True),
    ]
    samples = NOISE if bits == 8 else NOISE.astype(np.uint16) * 257
    file = tiff(samples, software=False, compression=compression, extratags=extra)
    result, lost = written(file)
    assert lost == ("TIFF tag 33550 (ModelPixelScaleTag)", "TIFF tag 50000")
    tags = decoded(result).tag_v2
    assert tags[33723] == RECORDS and tags[34377] == resource(1028, RECORDS)


def bmp_of_version_4(space: bytes) -> bytes:
    rows = np.pad(NOISE[::-1, :, ::-1].reshape(HEIGHT, -1), ((0, 0), (0, -WIDTH * 3 % 4)))
    header = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 24, 0, rows.size, 0, 0, 0, 0)
    header += bytes(16) + space + bytes(48)
    start = 14 + len(header)
    return struct.pack("<2sIII", b"BM", start + rows.size, 0, start) + header + rows.tobytes()


def test_a_bmps_colour_space_is_said():
    assert written(bmp_of_version_4(b"BGRs"))[1] == ()
    assert written(bmp_of_version_4(bytes(4)))[1] == ("colour space",)
    np.testing.assert_array_equal(
        np.asarray(decoded(written(bmp_of_version_4(b"BGRs"))[0]))[~HOLE], NOISE[~HOLE]
    )


# From one format into another

EXIF = Image.Exif()
EXIF[0x010F], EXIF[0x0112], EXIF[0x9C9B] = "Camera", 6, b"title"
FULL = {
    "JPEG": encoded(
        decoded(jpeg()), "JPEG", exif=EXIF, icc_profile=ICC, dpi=(300, 300), comment="A comment"
    ),
    "PNG": encoded(Image.fromarray(NOISE), exif=EXIF, icc_profile=ICC, dpi=(300, 300)),
}
place = FULL["JPEG"].index(b"\xff\xdb")
FULL["JPEG"] = (
    FULL["JPEG"][:place]
    + xmp_segment(XMP % b"")
    + extension(b"<x/>", 4, 0)
    + photoshop(IPTC)
    + FULL["JPEG"][place:]
)
FULL["PNG"] = FULL["PNG"][:33] + (
    chunk(b"cICP", b"\1\1\0\1")
    + chunk(b"tEXt", b"Comment\0A comment")
    + chunk(b"tEXt", b"Author\0Somebody")
    + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % b"")
    + FULL["PNG"][33:]
)
IPTC_NAME = "IPTC or other data of Photoshop"
EXPECTED_LOSS = {
    ("JPEG", "JPEG"): (),
    ("JPEG", "PNG"): ("extended XMP", IPTC_NAME),
    ("JPEG", "WEBP"): ("extended XMP", IPTC_NAME, "comment", "resolution"),
    ("JPEG", "TIFF"): ("extended XMP", "comment", "EXIF's XPTitle"),
    ("JPEG", "BMP"): ("EXIF", "ICC profile", "XMP", "extended XMP", IPTC_NAME, "comment"),
    ("PNG", "PNG"): (),
    ("PNG", "JPEG"): ("texts", "colour space"),
    ("PNG", "WEBP"): ("comment", "texts", "colour space", "resolution"),
    ("PNG", "TIFF"): ("comment", "texts", "colour space", "EXIF's XPTitle"),
    ("PNG", "BMP"): ("EXIF", "ICC profile", "XMP", "comment", "texts", "colour space"),
}


@pytest.mark.parametrize("own, to", EXPECTED_LOSS)
def test_what_the_other_format_can_hold_is_carried_over_and_the_rest_is_said(own, to):
    picture = read_any(FULL[own])
    assert picture.lost[to] == EXPECTED_LOSS[own, to]
    result = picture.encode(to)
    after = decoded(result)
    upright = np.asarray(decoded(FULL[own]).transpose(Image.Transpose.ROTATE_270))
    if to == "BMP":  # Which cannot say that it is turned.
        np.testing.assert_array_equal(np.asarray(after), upright)
        return
    exif = after.getexif()
    assert exif[0x010F] == "Camera" and after.info["icc_profile"] == ICC
    xmp = after.tag_v2[700] if to == "TIFF" else after.info["xmp"]
    assert xmp == XMP % b""
    if to != "WEBP":
        assert after.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    if to == "PNG":
        assert after.text["Comment"] == "A comment"
    if to == "JPEG":
        assert after.info["comment"] == b"A comment"
    if (own, to) == ("JPEG", "TIFF"):
        assert after.tag_v2[34377] == IPTC and after.tag_v2[33723] == RECORDS
        again = read_any(result).encode("JPEG")
        assert (0xED, b"Photoshop 3.0\0" + IPTC) in segments_of(again)


@pytest.mark.parametrize("comment", [b"plain", "zwölf, 十二".encode(), b"zw\xf6lf\0"])
def test_a_jpegs_comment_becomes_a_pngs_text(comment):
    result, _ = written(jpeg(segment(0xFE, comment)), "PNG")
    assert decoded(result).text["Comment"] in ("plain", "zwölf, 十二", "zwölf")
    assert decoded(result).text["Comment"][0] == chr(comment[0])


def test_what_is_too_long_for_a_jpeg_is_said_and_the_orientation_stays():
    exif = Image.Exif()
    exif[0x0112], exif[0x9286] = 6, b"x" * 70_000
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "c" * 70_000)
    text.add_itxt("XML:com.adobe.xmp", "<x>" + "y " * 40_000)
    picture = read_any(encoded(Image.fromarray(NOISE), exif=exif, pnginfo=text))
    assert picture.lost["JPEG"] == ("EXIF", "XMP", "comment", "texts")
    assert dict(decoded(picture.encode("JPEG")).getexif()) == {0x0112: 6}
    assert picture.lost["PNG"] == ()


def test_a_grey_profile_is_said_where_pixels_become_rgb():
    profile = ICC[:16] + b"GRAY" + ICC[20:]
    content = encoded(Image.fromarray(NOISE[..., 0]), icc_profile=profile)
    picture = read_any(content)
    assert picture.lost["WEBP"] == ("ICC profile",) and picture.lost["JPEG"] == ()
    _, lost = written(encoded(Image.fromarray(NOISE), icc_profile=profile))
    assert lost == ("ICC profile, which is for grey",)


def test_16_bit_tiff_says_that_the_cameras_exif_is_lost():
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    samples = NOISE.astype(np.uint16) * 257
    content = png(samples, 16, 2, chunk(b"eXIf", exif.tobytes()[6:]))
    picture = read_any(content)
    assert picture.lost == {**picture.lost, "PNG": (), "TIFF": ("EXIF of the camera and of GPS",)}
    assert decoded(picture.encode("TIFF")).getexif()[0x010F] == "Camera"


# What is printed


def test_each_kind_of_loss_is_said_once_in_a_run(tmp_path, capsys):
    (tmp_path / "mask.png").write_bytes(encoded(Image.fromarray(HOLE)))
    parts = [segment(0xE3, b"Meta"), segment(0xE3, b"Meta") + segment(0xE4, b"Other"), b""]
    contents = [jpeg(part, end=b"film") for part in parts] + [jpeg(segment(0xE5, b"Copied"))]
    jobs = []
    for number, content in enumerate(contents):
        image = tmp_path / f"{number}.jpg"
        image.write_bytes(content)
        jobs.append(Job(image, tmp_path / "mask.png", tmp_path / "out" / image.name))
    (tmp_path / "none.png").write_bytes(encoded(Image.fromarray(HOLE & False)))
    jobs[3] = Job(jobs[3].image, tmp_path / "none.png", jobs[3].output)
    outcome = inpaint_files(jobs, lambda image, hole: FILL, Settings())
    assert (outcome.done, outcome.unchanged) == (3, 1)
    said = [line for line in capsys.readouterr().err.splitlines() if "not kept" in line]
    head = "and others like it: not kept:"
    assert said == [
        f"warning: {jobs[0].image}, {head} APP3 Meta, {FOLLOWS}",
        f"warning: {jobs[1].image}, {head} APP4 Other",
    ]
    # A copy loses nothing.
    assert jobs[3].output.read_bytes() == contents[3]


# Files from anywhere


@pytest.mark.parametrize("walk", [segments.jpeg_segments, segments.png_chunks])
def test_lengths_that_lie_end_a_walk(walk):
    for length in (0, 1, 2, 0xFFFF):
        content = b"\xff\xd8" + b"\xff\xe1" + struct.pack(">H", length) + b"ab"
        assert len(list(walk(content))) <= 2
    for size in (0, 2**31, 2**32 - 1):
        content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", size, b"tEXt") + b"ab"
        assert len(list(walk(content))) <= 2


@pytest.mark.parametrize("size", [0, 1, 9, 2**31, 2**32 - 1])
def test_resources_and_chunks_whose_lengths_lie_are_bounded(size):
    data = b"8BIM\x04\x04\0\0" + struct.pack(">I", size) + b"ab"
    found = list(segments.photoshop_resources(data))
    assert found == [(0, data)] if size > 2 else b"".join(x for _, x in found) == data
    webp = b"RIFF" + struct.pack("<I4s4sI", size, b"WEBP", b"EXIF", size) + b"ab"
    assert len(list(segments.webp_chunks(webp))) <= 3
    assert segments.tiff_entries(b"II*\0\x08\0\0\0\xff\xff" + bytes(30)) == [(0, 10), (0, 22)]


@pytest.mark.parametrize("part", [b"\xff\xd8\xff\xdb", b"8BIM\x10\0\0\0\0\0\0\0", b"A" * 39 + b"."])
def test_many_parts_take_time_in_proportion_to_the_file(part):
    data = part * (2**22 // len(part))
    assert segments.without_pictures(data) == data
    content = b"".join(photoshop(data[n : n + 60_000]) for n in range(0, len(data), 60_000))
    read_any(jpeg(content))
