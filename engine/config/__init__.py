"""One run is one TOML file; unknown keys and impossible values are errors.

Paths in a file are relative to that file; paths in an override (``--set``) to the current folder."""

from .loading import config_from, dump_config, load_config, parse_override
from .sections import (
    AugmentConfig,
    CaptureConfig,
    CodeConfig,
    Config,
    DataConfig,
    LayoutConfig,
    LossConfig,
    ModelConfig,
    TrainConfig,
)

__all__ = [
    "AugmentConfig",
    "CaptureConfig",
    "CodeConfig",
    "Config",
    "DataConfig",
    "LayoutConfig",
    "LossConfig",
    "ModelConfig",
    "TrainConfig",
    "config_from",
    "dump_config",
    "load_config",
    "parse_override",
]
