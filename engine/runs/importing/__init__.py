"""Other trainers' logs: their form told from their content, read into runs, with what the log itself proves.

Never imports torch. ``import_log`` is all that is used from outside.
"""

from .importer import Imported, ImportedRun, import_log

__all__ = ["Imported", "ImportedRun", "import_log"]
