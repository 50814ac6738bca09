"""Where faces are: beside OpenCV on real photos, and at the edges of what a picture can be."""

import itertools

import msgspec
import numpy as np
import pytest

from models.errors import ModelBroken, PackBroken, PictureBroken
from models.faces.alignment import align
from models.faces.detector import FaceDetector, _cuts
from models.faces.face import iou
from models.faces.letterbox import letterbox, stretch
from models.pack import verify
from tests.models.faces.test_scrfd import KNOWN, nine

pytestmark = pytest.mark.corpus


def boxes(faces):
    return np.array([(each.left, each.top, each.right, each.bottom) for each in faces])


@pytest.fixture(scope="module")
def opencv(real):
    """OpenCV's own detector on the same file, shown the picture as ours is."""
    import cv2

    graph = real.both.path(real.both.require_detect().file)
    yunet = cv2.FaceDetectorYN.create(str(graph), "", (640, 640), 0.6, 0.3, 5000)

    def detect(picture):
        height, width = picture.shape[:2]
        shown = letterbox(picture, 640, 640)
        _, rows = yunet.detect(np.ascontiguousarray(shown.pixels[..., ::-1]))
        rows = np.empty((0, 15)) if rows is None else rows
        corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return np.clip(corners / shown.across, 0, [width, height, width, height])

    return detect


def test_each_face_of_opencv_s_is_found_within_four_pixels(photos, real, opencv):
    seen = 0
    for path in photos.ordinary + photos.aligned:
        picture = photos.read(path)
        mine = boxes(real.detector.detect(picture))
        for box in opencv(picture):
            seen += 1
            assert np.abs(mine - box).max(axis=1).min() < 4, path.name
    assert seen > 250


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("/obama.jpg", 1),
        ("/obama_small.jpg", 1),
        ("/two_people.jpg", 2),
        ("/kit_with_rose.jpg", 2),
        ("1MB/1.jpg", 52),
        ("1MB/19.jpg", 5),
        ("1MB/2.jpg", 4),
    ],
)
def test_as_many_faces_are_found_as_there_are(photos, real, name, count):
    assert len(real.detector.detect(photos.one(name))) == count


def test_a_landscape_has_none(corpus, photos, real):
    for number in (0, 3, 6):
        path = next(corpus.rglob(f"Landscape_{number}.jpg"))
        assert real.detector.detect(photos.read(path)) == []


def test_a_graph_of_open_sides_is_run_at_its_pack_s_size(photos, real):
    detector = FaceDetector.open(real.dynamic)
    assert len(detector.detect(photos.one("/two_people.jpg"))) == 2


def test_faces_that_fill_their_picture_are_found(photos, real):
    found = [len(real.detector.detect(photos.read(path))) for path in photos.aligned]
    assert len(found) == 100
    assert sum(count == 1 for count in found) >= 95


def test_small_faces_in_a_large_photo_are_found_once(photos, real):
    from PIL import Image

    small = Image.fromarray(photos.one("/obama.jpg")).resize((182, 227), Image.Resampling.BOX)
    picture = np.full((2400, 3200, 3), 90, np.uint8)
    middles = [(400, 500), (1600, 1200), (1590, 300), (2900, 2000), (1720, 2100)]
    for x, y in middles:  # one on the corner where all tiles meet, one across two
        picture[y - 113 : y + 114, x - 91 : x + 91] = np.asarray(small)
    found = real.detector.detect(picture)
    assert len(found) == len(middles)
    for x, y in middles:
        assert sum(each.left < x < each.right and abs(y - each.top) < 120 for each in found) == 1
    whole = real.detector._found(letterbox(picture, 640, 640))
    assert len(whole.scores) < len(middles)


def test_a_small_face_in_a_large_photo_is_recognised(photos, real):
    """Its landmarks are those of a tile, which sees it twice as large: else this is 0.84."""
    from PIL import Image

    crops = []
    for name in ("obama", "obama1", "obama2", "obama3", "biden", "biden2", "johnsnow_test1"):
        portrait = photos.one(f"/{name}.jpg")
        face, *_ = real.detector.detect(portrait)
        scale = 90 / face.height
        size = (round(portrait.shape[1] * scale), round(portrait.shape[0] * scale))
        small = Image.fromarray(portrait).resize(size, Image.Resampling.BOX)
        photo = Image.new("RGB", (2048, 1536), (90, 100, 110))
        photo.paste(small, (350, 250))
        picture = np.asarray(photo)
        crops += [align(portrait, face), align(picture, real.detector.detect(picture)[0])]
    vectors = real.recogniser.embed(np.stack(crops))
    assert (vectors[::2] * vectors[1::2]).sum(axis=1).mean() > 0.88


def test_a_long_strip_is_looked_at_piece_by_piece(photos, real):
    from PIL import Image

    small = np.asarray(Image.fromarray(photos.one("/obama.jpg")).resize((240, 300)))
    picture = np.full((300, 6000, 3), 90, np.uint8)
    picture[:, 700:940] = picture[:, 3000:3240] = picture[:, 5500:5740] = small
    assert len(real.detector.detect(picture)) == 3


@pytest.mark.parametrize(
    ("side", "other", "expected"), [(100, 80, 2), (80, 100, 2), (1000, 100, 8), (100, 1000, 1)]
)
def test_tiles_cover_a_side_and_overlap(side, other, expected):
    cuts = _cuts(side, other)
    assert len(cuts) == expected
    assert (cuts[0][0], cuts[-1][1]) == (0, side)
    for (_, end), (start, _) in itertools.pairwise(cuts):
        assert end - start >= 0.19 * (cuts[0][1] - cuts[0][0])


@pytest.mark.parametrize("part", [np.s_[:, :500], np.s_[230:, :], np.s_[:, 480:]])
def test_a_face_that_the_border_cuts_ends_there(photos, real, part):
    picture = np.ascontiguousarray(photos.one("/obama.jpg")[part])
    height, width = picture.shape[:2]
    (face,) = real.detector.detect(picture)[:1]
    assert 0 <= face.left < face.right <= width
    assert 0 <= face.top < face.bottom <= height
    assert np.isfinite(face.landmarks).all()


def test_a_face_on_its_head_has_its_eyes_below(photos, real):
    picture = photos.one("/obama.jpg")
    height, width = picture.shape[:2]
    upright, *_ = real.detector.detect(picture)
    turned, *more = real.detector.detect(np.ascontiguousarray(picture[::-1, ::-1]))
    assert not more
    back = np.array([width, height]) - np.array(turned.landmarks)
    assert back == pytest.approx(np.array(upright.landmarks), abs=0.05 * upright.width)
    assert turned.landmarks[0][1] > turned.landmarks[3][1]


def test_a_pack_that_is_sure_of_all_its_faces_looks_once(photos, real):
    picture = np.ascontiguousarray(photos.one("/obama.jpg")[::-1, ::-1])
    graph = msgspec.structs.replace(real.both.require_detect(), sure=0.1)
    faces = msgspec.structs.replace(real.both.faces, detect=graph)
    detector = FaceDetector.open(msgspec.structs.replace(real.both, faces=faces))
    (face,) = detector.detect(picture)
    assert face.landmarks[0][1] < face.landmarks[3][1]  # its mouth was taken for eyes


def test_the_sides_of_a_face_stay_sides(photos, real):
    """An ear is no eye: the first eye is the image's left one in every upright photo."""
    for name in ("/obama.jpg", "/john2.jpeg", "/biden.jpg"):
        (left, right, nose, *mouth), *_ = (
            each.landmarks for each in real.detector.detect(photos.one(name))
        )
        assert left[0] < right[0]
        assert max(left[1], right[1]) < nose[1] < min(mouth[0][1], mouth[1][1])


def test_faces_come_best_first_and_are_not_each_other(photos, real):
    found = real.detector.detect(photos.one("1MB/17.jpg"))
    assert len(found) > 200
    scores = [face.score for face in found]
    assert scores == sorted(scores, reverse=True)
    assert max(iou(a, b) for n, a in enumerate(found) for b in found[:n]) < 0.4


def test_a_grey_photo_is_as_good(photos, real):
    grey = photos.one("/two_people.jpg").mean(axis=2).astype(np.uint8)
    assert len(real.detector.detect(np.repeat(grey[..., None], 3, axis=2))) == 2


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (2, 1), (3, 5000), (5000, 3), (1, 20000), (40, 40), (641, 1)]
)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_nothing_is_found_where_there_is_nothing(real, shape, value):
    assert real.detector.detect(np.full((*shape, 3), value, np.uint8)) == []


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        (np.zeros((5, 5), np.uint8), r"expected uint8 \[h, w, 3\], found uint8 \[5, 5\]"),
        (np.zeros((5, 5, 4), np.uint8), r"found uint8 \[5, 5, 4\]"),
        (np.zeros((5, 5, 3)), "found float64"),
        (np.zeros((0, 5, 3), np.uint8), "a picture of 5 x 0 pixels"),
    ],
)
def test_what_is_no_picture_is_refused(real, picture, complaint):
    with pytest.raises(PictureBroken, match=complaint):
        real.detector.detect(picture)


@pytest.mark.parametrize("keep", [0, 0.5, 0.999])
def test_a_truncated_graph_is_the_pack_s_fault(tmp_path, made, keep):
    graph = made.constants(tmp_path / "det.onnx", nine(KNOWN))
    pack = made.detect_pack(graph, nine(KNOWN))
    graph.write_bytes(graph.read_bytes()[: int(keep * graph.stat().st_size)])
    with pytest.raises(PackBroken, match="expected sha256"):
        FaceDetector.open(pack)
    with pytest.raises(PackBroken, match="expected sha256"):
        verify(pack)


def test_a_graph_with_other_outputs_than_told_is_refused(tmp_path, made):
    graph = made.constants(tmp_path / "det.onnx", nine(KNOWN))
    with pytest.raises(ModelBroken, match="expected an output 'more'"):
        FaceDetector.open(made.detect_pack(graph, [*nine(KNOWN), "more"]))


def test_a_batch_of_several_is_refused(tmp_path, made):
    graph = made.constants(tmp_path / "det.onnx", nine(KNOWN), (4, 3, 640, 640))
    with pytest.raises(ModelBroken, match="expected one picture at a time"):
        FaceDetector.open(made.detect_pack(graph, nine(KNOWN)))


def test_a_frame_that_is_no_multiple_of_its_cells_is_refused(tmp_path, made):
    graph = made.constants(tmp_path / "det.onnx", nine(KNOWN))
    with pytest.raises(ValueError, match="size must be a multiple of 32"):
        made.detect_pack(graph, nine(KNOWN), size=600)


@pytest.mark.parametrize("fit", [letterbox, stretch])
@pytest.mark.parametrize("shape", [(480, 640), (100, 37), (1, 3000)])
@pytest.mark.parametrize("border", [0, 0.25])
def test_the_way_into_the_frame_leads_back(fit, shape, border):
    from models.faces.candidates import Candidates

    picture = np.zeros((*shape, 3), np.uint8)
    frame = fit(picture, 320, 240, border)
    assert frame.pixels.shape == (240, 320, 3)
    left, top = frame.left, frame.top
    corners = np.array([[left, top, left + frame.wide, top + frame.high]], float)
    back = frame.back(Candidates(corners, np.ones(1), np.zeros((1, 0, 2))))
    pixel = 1 / np.array([frame.across, frame.down, frame.across, frame.down])
    expected = np.array([0, 0, shape[1], shape[0]])
    assert (np.abs(back.boxes[0] - expected) <= pixel).all()
