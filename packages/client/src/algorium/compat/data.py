"""What files and directories have in common."""

from enum import Enum
from typing import Any


class DataObjectType(Enum):
    """What something is."""

    file = 1
    directory = 2


class DataObject:
    """A file or a directory."""

    def __init__(self, data_object_type: DataObjectType) -> None:
        self.data_object_type = data_object_type

    def is_file(self) -> bool:
        """Return whether it is a file."""
        return self.data_object_type is DataObjectType.file

    def is_dir(self) -> bool:
        """Return whether it is a directory."""
        return self.data_object_type is DataObjectType.directory

    def get_type(self) -> DataObjectType:
        """Return what it is."""
        return self.data_object_type

    def set_attributes(self, attributes: dict[str, Any]) -> None:
        """Take over what a listing says."""
