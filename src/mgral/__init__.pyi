from mgral.core.errors import MgralError as MgralError
from mgral.core.types import Boxes as Boxes
from mgral.core.types import Dataset as Dataset
from mgral.core.types import Detections as Detections
from mgral.core.types import Embeddings as Embeddings
from mgral.core.types import Image as Image
from mgral.core.types import Pick as Pick
from mgral.data.dataset_json import read as read_dataset
from mgral.data.evidence import Evidence as Evidence
from mgral.data.pool import Pool as Pool
from mgral.data.pool import read_pool as read_pool
from mgral.data.selection import Selection as Selection
from mgral.data.selection import read_selection as read_selection
from mgral.detection.detections_file import read as read_detections
from mgral.detection.npz_files import read_embeddings as read_embeddings
from mgral.strategies._contract import select as select

__all__ = [
    "Boxes",
    "Dataset",
    "Detections",
    "Embeddings",
    "Evidence",
    "Image",
    "MgralError",
    "Pick",
    "Pool",
    "Selection",
    "read_dataset",
    "read_detections",
    "read_embeddings",
    "read_pool",
    "read_selection",
    "select",
]
