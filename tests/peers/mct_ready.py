"""Makes torchvision importable beside torch alone, which the import of Sony MCT asks for."""

from analysis.models.vision_ops import import_torchvision

import_torchvision()
