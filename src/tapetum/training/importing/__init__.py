"""From the option files that authors published (the YAML of BasicSR and its descendants) to our recipes."""

from tapetum.training.importing.importer import Imported, import_options, write_recipe

__all__ = ["Imported", "import_options", "write_recipe"]
