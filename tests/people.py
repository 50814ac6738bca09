"""A pack that knows real faces: YuNet and MobileFace, of the folder of real photos."""

import hashlib
import shutil
from pathlib import Path

import onnx

from models.pack import DetectGraph, Faces, Manifest, Pack, RecogniseGraph, load_pack, to_toml

NAME = "people"
BARE = ((0.0,) * 3, (1 / 255,) * 3)  # mean and std of a graph that takes 0–255
DETECTOR = "onnx/libfacedetection.train/yunet_n_640_640.onnx"
RECOGNISER = "onnx/MobileFace/mobileface_v2_112_256d.onnx"


def people(corpus: Path, folder: Path, name: str = NAME) -> Pack:
    """The pack *name* in *folder*/*name*, of graphs below *corpus*."""
    target = folder / name
    target.mkdir(parents=True)
    sums = {}
    for source, file in ((DETECTOR, "detect.onnx"), (RECOGNISER, "recognise.onnx")):
        shutil.copyfile(corpus / source, target / file)
        sums[file] = hashlib.sha256((target / file).read_bytes()).hexdigest()
    mean, std = BARE
    outputs = [each.name for each in onnx.load(target / "detect.onnx").graph.output]
    manifest = Manifest(
        name=name,
        revision="1",
        licence="MIT",
        summary="real faces",
        faces=Faces(
            detect=DetectGraph(
                file="detect.onnx",
                sha256=sums["detect.onnx"],
                kind="yunet",
                precision="fp32",
                size=640,
                mean=mean,
                std=std,
                colour="BGR",
                input="input",
                outputs=tuple(outputs),
            ),
            recognise=RecogniseGraph(
                file="recognise.onnx",
                sha256=sums["recognise.onnx"],
                precision="fp32",
                buckets=(1, 4, 16, 32),
                size=112,
                mean=mean,
                std=std,
                colour="RGB",
                layout="NCHW",
                input="data",
                output="fc5_bn",
                dimensions=256,
                space=f"{name}-1",
            ),
        ),
    )
    (target / "pack.toml").write_text(to_toml(manifest))
    return load_pack(target)
