"""What CVAT and Label Studio ask for beside COCO: a skeleton to define, and tasks whose points have names."""

import json
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from peclr.geometry.joints import BONES, JOINT_NAMES

CVAT_LABELS: Final = "cvat_labels.json"
STUDIO_TASKS: Final = "label_studio_tasks.json"
STUDIO_CONFIG: Final = "label_studio_config.xml"
_STUDIO_FILES: Final = "/data/local-files/?d="  # Label Studio's address of files below its document root
_POINT: Final = 0.75  # percent of an image's width, of a point in Label Studio


def cvat_labels(name: str) -> str:
    """A skeleton for the tab "Raw" of CVAT's labels: an import of keypoints does not define it.

    Its template, in percent, is a right hand with its fingers up; nodes are numbered from 1.
    """
    places = [(50.0, 92.0)]
    for finger in range(5):
        turn = math.radians(-60 + 25 * finger)
        lengths = (24, 36, 46, 54) if finger == 0 else (40, 54, 64, 72)
        places += [(50 + length * math.sin(turn), 92 - length * math.cos(turn)) for length in lengths]
    edges = "".join(
        f'<line x1="{places[a][0]:.1f}" y1="{places[a][1]:.1f}" x2="{places[b][0]:.1f}" y2="{places[b][1]:.1f}" '
        f'stroke="black" stroke-width="0.5" data-type="edge" data-node-from="{a + 1}" data-node-to="{b + 1}"></line>'
        for a, b in BONES
    )
    nodes = "".join(
        f'<circle r="0.75" stroke="black" fill="#b3b3b3" stroke-width="0.1" cx="{x:.1f}" cy="{y:.1f}" '
        f'data-type="element node" data-element-id="{node}" data-node-id="{node}" data-label-name="{joint}"></circle>'
        for node, (joint, (x, y)) in enumerate(zip(JOINT_NAMES, places, strict=True), 1)
    )
    sublabels = [{"name": joint, "type": "points", "attributes": []} for joint in JOINT_NAMES]
    skeleton = {"name": name, "type": "skeleton", "attributes": [], "sublabels": sublabels, "svg": edges + nodes}
    return json.dumps([skeleton], indent=1) + "\n"


def studio_config(name: str) -> str:
    """A labeling configuration of Label Studio: it exports COCO only where there are rectangles, too."""
    joints = "".join(f'    <Label value="{joint}" model_index="{n}"/>\n' for n, joint in enumerate(JOINT_NAMES))
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <KeyPointLabels name="joints" toName="image">\n{joints}  </KeyPointLabels>\n'
        f'  <RectangleLabels name="box" toName="image">\n    <Label value="{name}"/>\n  </RectangleLabels>\n</View>\n'
    )


def studio_task(file: str, width: int, height: int, joints_2d: NDArray[np.floating]) -> dict[str, Any]:
    """A task of Label Studio: an image, by its path below the document root, whose points have been set.

    Joints are (21, 2), px; NaN has no point. They are an annotation: of predictions, only what was touched is exported.
    """
    points = 100 * (joints_2d + 0.5) / (width, height)
    about = {"from_name": "joints", "to_name": "image", "type": "keypointlabels", "image_rotation": 0}
    about |= {"original_width": width, "original_height": height}
    result = [
        about | {"value": {"x": round(x, 4), "y": round(y, 4), "width": _POINT, "keypointlabels": [joint]}}
        for joint, (x, y) in zip(JOINT_NAMES, points.tolist(), strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    return {"data": {"image": f"{_STUDIO_FILES}{file}"}, "annotations": [{"result": result}]}
