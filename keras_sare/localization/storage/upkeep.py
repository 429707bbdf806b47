"""What keeps searches in a place index fast and its folder small: Lance's indexes, and its old versions."""

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from keras_sare.localization.index_record import IndexRecord
from keras_sare.utils.error_text import one_line

if TYPE_CHECKING:
    import lancedb

logger = logging.getLogger(__name__)

NAMED_ROWS = 10_000
"""Photos up to which a name is looked for among all; beyond, an index finds it."""
GRACE = timedelta(days=1)
"""For which a version stays that another has taken the place of."""

_MOST_UNINDEXED = 0.1
_MOST_OLD = 10
_MARGIN = timedelta(hours=1)


def index_columns(table: "lancedb.table.Table", record: IndexRecord, anew: bool = False) -> None:
    """Makes the indexes of a large map, or makes them anew where many photos are new since.

    A small map, and what is new, is searched exactly. Lance's own ways to bring an index up to date are left alone:
    indexes that were merged twice have given the rows of other photos.

    Args:
        table: of the place index.
        record: of it.
        anew: in any case.
    """
    from lancedb.index import BTree, IvfRq

    for column, config, exact_rows in (
        ("name", BTree(), NAMED_ROWS),
        ("descriptor", IvfRq(distance_type="cosine"), record.exact_rows),
    ):
        photos = table.count_rows()
        if photos > exact_rows and (anew or _unindexed(table, column) > _MOST_UNINDEXED * photos):
            logger.info("Indexing the %ss of %d photos", column, photos)
            table.create_index(column, config=config, replace=True)


def forget_versions(
    table: "lancedb.table.Table", record: IndexRecord, now: datetime | None = None, margin: timedelta = _MARGIN
) -> None:
    """Removes versions that other versions took the place of more than `GRACE` ago, once there are some.

    Photos that were replaced or removed go with them. Lance does that together with joining small files, which copies
    them: seldom, so that it costs a change little on average.

    Args:
        table: of the place index, which no other process writes to.
        record: of it.
        now: time without a zone, as `list_versions` has it.
        margin: by which more versions are kept: removing begins when joining has ended.
    """
    now = now or datetime.now()  # noqa: DTZ005  # As Lance has it.
    old = [version["timestamp"] for version in table.list_versions() if version["timestamp"] < now - GRACE]
    if len(old) <= _MOST_OLD:
        return
    try:
        # Whatever is not in an index would be merged into it.
        index_columns(table, record, anew=True)
        # The last of the old ones may have been the map until a moment ago.
        table.optimize(cleanup_older_than=datetime.now() - max(old) + margin)  # noqa: DTZ005
    except (RuntimeError, ValueError, OSError) as error:  # The change that came before has been made all the same.
        logger.warning("Old versions stay until the next change: %s", one_line(error))
    else:
        logger.info("Removed versions from before %s", f"{max(old):%Y-%m-%d %H:%M}")


def _unindexed(table: "lancedb.table.Table", column: str) -> int:
    """Photos that are not in the index of a column."""
    for index in table.list_indices():
        statistics: Any = table.index_stats(index.name) if index.columns == [column] else None
        if statistics is not None:
            return int(statistics.num_unindexed_rows)
    return int(table.count_rows())
