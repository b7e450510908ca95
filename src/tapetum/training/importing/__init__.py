"""From the option files that authors published (the YAML of BasicSR and its descendants) to our recipes."""

from tapetum.training.importing.importer import Imported, files_of, import_options, write_recipe

__all__ = ["Imported", "files_of", "import_options", "write_recipe"]
