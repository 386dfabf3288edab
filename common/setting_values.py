"""Kinds of settings that are more than a number or a word: texts as the environment has them, once checked."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, get_args

from pydantic import AfterValidator

from common.store_urls import Store


def split_list(value: str) -> list[str]:
    """The items of a setting that lists several, with commas in between."""
    return [item for part in value.split(",") if (item := part.strip())]


def _check_stores(names: str) -> str:
    for name in split_list(names):
        if name not in get_args(Store):
            raise ValueError(f"{name} is none of {', '.join(get_args(Store))}")
    return names


def _check_networks(networks: str) -> str:
    for network in split_list(networks):
        ip_network(network)
    return networks


def _check_file(path: str) -> str:
    if path and not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    return path


StoreNames = Annotated[str, AfterValidator(_check_stores)]
"""A list of ``postgresql``, ``redis``, ``elasticsearch``."""

Networks = Annotated[str, AfterValidator(_check_networks)]
"""A list of networks, or single addresses, as `ip_network` takes them."""

ExistingFile = Annotated[str, AfterValidator(_check_file)]
"""The path of a file that is there, or nothing."""
