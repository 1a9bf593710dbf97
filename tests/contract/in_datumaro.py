"""Runs in datumaro's environment (`make env-annotation`): reads a folder, and writes it again in the same format.

python in_datumaro.py FORMAT FROM TO: prints {image: [[class, x1, y1, x2, y2], …]}; corners in pixels.
"""

import json
import sys

import datumaro

form, given, to = sys.argv[1:]
data = datumaro.Dataset.import_from(given, form)
names = data.categories()[datumaro.AnnotationType.label]
found = {
    item.id: sorted(
        [names[one.label].name, *one.points] for one in item.annotations if one.type == datumaro.AnnotationType.bbox
    )
    for item in data
}
data.export(to, form, save_media=False)
print(json.dumps(found))
