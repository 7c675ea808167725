"""Files of strangers that ask for more than there is, turn in circles, lie or break off; each kind by its name."""

from tests.helpers.hostile import archives, others, tensors  # noqa: F401 (each adds its kinds)
from tests.helpers.hostile.kinds import BOTH, CLEAN, ROWS, UNREAD, Make

KINDS: dict[str, Make] = {**UNREAD, **ROWS, **BOTH, **CLEAN}
# Those that take more than a second to be made and looked through; one of each format is looked through in any case.
LARGE = (
    "arrow_bomb",
    "bzip2_bomb",
    "gzip_of_ten_gigabytes",
    "parquet_bomb",
    "parquet_of_one_large_list",
    "safetensors_of_one_tensor_under_many_names",
    "tar_bomb",
    "xz_bomb",
    "zip_of_many_bombs",
    "zip_whose_members_are_one",
    "zip_whose_members_quote_each_other",
    "zips_in_zips",
)
