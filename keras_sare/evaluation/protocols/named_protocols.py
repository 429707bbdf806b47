"""The published protocols, one entry each. Where published systems differ, each way is an entry of its own."""

from keras_sare.datasets import ShorterSide
from keras_sare.evaluation.protocols.protocol import Protocol

_NETVLAD = "Arandjelovic et al., CVPR 2016, and its code"
_BENCHMARK = "Berton et al., CVPR 2022, deep-visual-geo-localization-benchmark and VPR-methods-evaluation"

_TOKYO = Protocol(
    name="tokyo247",
    source=f"Torii et al., CVPR 2015; {_NETVLAD}; queries as in deepIBL's note and OpenIBL",
    radius=25.0,
    best_of="panorama",
    conditions=True,
    query_size=ShorterSide(640),
)
_MSLS = Protocol(
    name="msls",
    source="Warburg et al., CVPR 2020; the heading is the paper's alone: its code, mapillary_sls, looks at metres only",
    radius=25.0,
    heading=40.0,
)
_NORDLAND = Protocol(
    name="nordland", source=f"Patch-NetVLAD's split (Hausler et al., CVPR 2021); {_BENCHMARK}", frames=10
)

_ENTRIES = (
    Protocol(name="pitts30k", source=_NETVLAD, radius=25.0),
    Protocol(name="pitts250k", source=_NETVLAD, radius=25.0),
    _TOKYO,
    _TOKYO.changed(name="tokyo247_longer_side", source="one number read as the longer side", query_size=640),
    _TOKYO.changed(name="tokyo247_as_database", source="queries resized as the database images are", query_size=None),
    _TOKYO.changed(
        name="tokyo247_openibl",
        source="OpenIBL: panoramas of other years at one position are one, 6254 instead of 6332",
        best_of="position",
    ),
    _TOKYO.changed(name="tokyo247_all_cutouts", source="as tokyo247, every cut-out counted", best_of=None),
    _TOKYO.changed(
        name="tokyo247_benchmark",
        source=f"{_BENCHMARK}; queries as VPR-datasets-downloader writes them",
        best_of=None,
        query_size=ShorterSide(480),
    ),
    Protocol(name="tokyotm", source=_NETVLAD, radius=25.0, exclude=("timestamp",)),
    Protocol(
        name="sf0",
        source="Liu, Li, Dai, ICCV 2019, whose code for it is not public, on Chen et al., CVPR 2011; 25 m as "
        f"San Francisco of {_BENCHMARK}",
        radius=25.0,
    ),
    _MSLS,
    _MSLS.changed(name="msls_radius", source=_BENCHMARK, heading=None),
    _MSLS.changed(
        name="msls_sls",
        source="mapillary_sls, msls.py and evaluate.py of the validation",
        heading=None,
        skips_without_positive=True,
    ),
    _NORDLAND,
    _NORDLAND.changed(
        name="nordland_1",
        source="Ali-bey et al., CVPR 2024: BoQ's Nordland**, with VPR-Bench's winter as database and summer as queries",
        frames=1,
    ),
    Protocol(name="svox", source=f"Berton et al., WACV 2021; {_BENCHMARK}", radius=25.0, conditions=True),
    Protocol(name="st_lucia", source=f"Milford, Wyeth, 2008; {_BENCHMARK}", radius=25.0),
    Protocol(name="amstertime", source="Yildiz et al., ICPR 2022: a pair is a place", places=True),
    Protocol(name="own", source="your own rules; these are the defaults", radius=25.0),
)

NAMED: dict[str, Protocol] = {entry.name: entry for entry in _ENTRIES}
"""All of them by name."""


def named_protocol(name: str) -> Protocol:
    """Finds a protocol by its name.

    Raises:
        ValueError: it is unknown; the message lists those that are known, with their rules.
    """
    if name not in NAMED:
        names: dict[str, list[str]] = {}
        for entry in NAMED.values():
            names.setdefault(entry.description, []).append(entry.name)
        known = "; ".join(f"{', '.join(alike)}: {rules}" for rules, alike in names.items())
        raise ValueError(f"`protocol` must be one of these. {known}. Received: protocol={name!r}")
    return NAMED[name]
