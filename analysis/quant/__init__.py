"""Grids, formats, range estimators and fake quantization; importing the package registers all."""

from analysis.quant import entropy as entropy
from analysis.quant import hmse as hmse
