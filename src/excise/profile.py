"""The counts that a topic's codes are chosen by."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from excise.data.inputs import Positions
from excise.enrichment import Enrichment, Method, enrich_counts
from excise.storage.files import new_folder
from excise.usage import CodeUsage, PairedUsage


@dataclass(frozen=True)
class Profile:
    """Which codes a topic uses, at each site and for every S'.

    Attributes:
        topic: what it is a profile of, in words.
        pairs: by site, counts over targets and their controls.
        retain: by site, counts over the retain set; empty where it was not counted.
        positions: `"topic"`, `"class_token"` or `"all"`, the tokens counted in targets and controls.
        data: digests of the sets counted.
    """

    topic: str
    pairs: Mapping[str, PairedUsage]
    retain: Mapping[str, CodeUsage]
    positions: Positions
    data: Mapping[str, str]

    @property
    def max_top_s(self) -> int:
        """The largest S' that there are counts for."""
        return next(iter(self.pairs.values())).target.max_top_s

    def enrich(self, top_s: int, method: Method = "mcnemar") -> Enrichment:
        """One row per code: frequencies, ratio, p and q, at one S'."""
        tables = {site: pairs.table(top_s, self.retain.get(site)) for site, pairs in self.pairs.items()}
        return enrich_counts(tables, method, top_s=top_s, positions=self.positions)

    def save(self, folder: str | os.PathLike) -> None:
        """Writes the counts of each site and what they are of into a new or empty folder.

        Raises:
            FileExistsError: if the folder holds something.
        """
        sites = list(self.pairs)
        about = {"topic": self.topic, "sites": sites, "positions": self.positions, "data": dict(self.data)}
        with new_folder(folder) as partial:
            for i, site in enumerate(sites):
                self.pairs[site].save(partial / f"pairs-{i}.safetensors")
                if site in self.retain:
                    self.retain[site].save(partial / f"retain-{i}.safetensors")
            (partial / "profile.json").write_text(json.dumps(about, indent=2))

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Profile":
        """The profile that `save` wrote.

        Raises:
            ValueError: if the folder holds none.
        """
        folder = Path(folder)
        if not (folder / "profile.json").is_file():
            raise ValueError(f"{folder} holds no profile (profile.json is missing). Make one with `Profile.save`.")
        about = json.loads((folder / "profile.json").read_text())
        sites = list(enumerate(about.pop("sites")))
        return cls(
            pairs={site: PairedUsage.load(folder / f"pairs-{i}.safetensors") for i, site in sites},
            retain={
                site: CodeUsage.load(path)
                for i, site in sites
                if (path := folder / f"retain-{i}.safetensors").is_file()
            },
            **about,
        )
