"""Typed settings and profiles; this layer knows nothing of the others."""

from config.errors import ConfigError as ConfigError
from config.errors import NotBuilt as NotBuilt
from config.loading import load as load
from config.profiles import components as components
from config.settings import Settings as Settings
