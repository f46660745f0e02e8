"""Finds faces in pictures and draws boxes around them."""

import dlib
import numpy as np

from .errors import InputError
from .pictures import format_of, read_picture, store_with_boxes

IMAGES_MAX = 100
UPSAMPLE = 1  # doubling the picture once finds faces from 40 pixels on instead of 80
UPSAMPLE_MAX = 2
THRESHOLD = 0.2  # weaker responses of the detector are mostly folds of cloth

DETECTOR = dlib.get_frontal_face_detector()


def apply(input):
    if not isinstance(input, dict) or "images" not in input:
        raise InputError('expected an object with the member images: [{"url": ..., "output": ...}]')
    upsample, threshold = _options(input)
    images = _images(input["images"])
    return {"images": [_detect(url, output, upsample, threshold) for url, output in images]}


def _detect(url, output, upsample, threshold):
    picture = read_picture(url)
    rectangles, _, _ = DETECTOR.run(np.asarray(picture), upsample, threshold)
    faces = [_within(picture, rectangle) for rectangle in rectangles]
    answer = {
        "url": url,
        "detected_faces": faces,
        "imageDimensions": {"height": picture.height, "width": picture.width},
    }
    if output is not None:
        store_with_boxes(picture, faces, output)
        answer["output"] = output
    return answer


def _within(picture, rectangle):
    # The detector's rectangles may reach over the edge.
    return {
        "left": max(0, rectangle.left()),
        "top": max(0, rectangle.top()),
        "right": min(picture.width - 1, rectangle.right()),
        "bottom": min(picture.height - 1, rectangle.bottom()),
    }


def _images(given):
    """Return pairs of url and output; everything is checked before the first picture is read."""
    pairs = []
    for item in given if isinstance(given, list) else [given]:
        image = {"url": item} if isinstance(item, str) else item
        if not isinstance(image, dict) or "url" not in image:
            raise InputError(
                f"each image must be an object with the member url, not {image!r:.100}"
            )
        urls, outputs = image["url"], image.get("output")
        if not isinstance(urls, list):
            urls, outputs = [urls], [outputs]
        elif outputs is None:
            outputs = [None] * len(urls)
        if not isinstance(outputs, list) or len(outputs) != len(urls):
            raise InputError("where url is a list, output must be a list of the same length")
        pairs.extend(zip(urls, outputs, strict=True))
    if not 1 <= len(pairs) <= IMAGES_MAX:
        raise InputError(f"between 1 and {IMAGES_MAX} images can be searched at once")
    for url, output in pairs:
        if not isinstance(url, str):
            raise InputError(f"url must be a string, not {url!r:.100}")
        if output is not None and not isinstance(output, str):
            raise InputError(f"output must be a string, not {output!r:.100}")
        if output is not None:
            format_of(output)
    return pairs


def _options(given):
    upsample, threshold = given.get("upsample", UPSAMPLE), given.get("threshold", THRESHOLD)
    if not isinstance(upsample, int) or not 0 <= upsample <= UPSAMPLE_MAX:
        raise InputError(f"upsample must be a whole number from 0 to {UPSAMPLE_MAX}")
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise InputError("threshold must be a number")
    return int(upsample), float(threshold)
