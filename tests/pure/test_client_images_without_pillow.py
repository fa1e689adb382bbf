"""Without Pillow images go as they are, and the receipt says what was not done and how to get it done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lollms_client.fitting import fit_image
from lollms_client.images import image_part
from lollms_client.testing import scripted_client
from lollms_core.errors import InvalidRequest, MissingDependency
from lollms_core.protocols.image_limits import GENERIC_IMAGES, NO_LIMITS, ImageLimits
from lollms_core.types import ImagePart
from tests.support.media_files import gif, png, png_claiming, webp
from tests.support.pictures import encoded, exif, scene

LYING = encoded(scene(), "JPEG", exif=exif(6))
BMP = encoded(scene(), "BMP")


@pytest.fixture(autouse=True)
def _without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)


@pytest.mark.parametrize(
    ("data", "limits", "missing"),
    [
        (LYING, NO_LIMITS, "not turned upright (EXIF orientation 6)"),
        (webp(), GENERIC_IMAGES, "not converted (image/webp is not taken)"),
        (gif(4, 4, 3), ImageLimits(kinds=("image/gif",), animated=False), "not reduced to the first of its 3 frames"),
        (png(90, 9), ImageLimits(max_side=50), "not made smaller (at most 50 pixels a side are taken)"),
    ],
)
def test_it_goes_as_it_is_and_the_receipt_says_so(data: bytes, limits: ImageLimits, missing: str) -> None:
    part, (item,) = fit_image(image_part(data), limits, "images[0]")
    assert part.data == data
    assert (item.name, item.action) == ("images[0]", "dropped")
    assert missing in item.reason
    assert "lollms install images" in item.reason


def test_what_fits_needs_no_pillow() -> None:
    assert fit_image(image_part(png()), GENERIC_IMAGES, "images[0]") == (ImagePart(png(), "image/png"), ())


def test_bombs_are_refused_all_the_same() -> None:
    with pytest.raises(InvalidRequest, match="40,000,000"):
        image_part(png_claiming(50_000, 50_000))


def test_what_no_backend_takes_says_how_to_get_pillow() -> None:
    with pytest.raises(MissingDependency, match="lollms install images"):
        scripted_client(["a"]).complete("Look", images=BMP)


def test_pillow_is_only_imported_when_it_is_needed(tmp_path: Path) -> None:
    program = """
import sys
from lollms_client.testing import scripted_client
path = sys.argv[1]
client = scripted_client(["a", "b"])
client.complete("Look", images=[path])
assert "PIL" not in sys.modules
assert client.complete("Look", images=[path + ".jpg"]).receipt
assert "PIL" in sys.modules
"""
    (tmp_path / "a").write_bytes(png())
    (tmp_path / "a.jpg").write_bytes(LYING)
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a")], check=True, cwd=Path(__file__).parents[2])
