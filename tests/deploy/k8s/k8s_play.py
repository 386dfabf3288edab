"""Manifests as podman can play them: pods in a network namespace of their own, which stands for the cluster's.

``podman play kube`` knows no StatefulSets, no CronJobs and, in the releases that distributions have, no Secrets in
environments, and no groups of volumes. So each workload becomes a pod, volumes become folders that are made as a
kubelet makes them, Secrets become values, and Services' names lead to the namespace's loopback address, at which all
pods listen. What a pod runs, as whom, with what rights, files and settings, stays as it is.
"""

import copy
import os
import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from k8s_manifests import Document, Rendering, Workload

_PROBES = ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle")  # tried without containers
_IMAGE = "SSPP_TEST_IMAGE"


@contextmanager
def network() -> Iterator[str]:
    """A network namespace by its name. Skips the test where there is no podman, or no image to try."""
    for program in ("podman", "nsenter", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if _IMAGE not in os.environ:
        pytest.skip(f"{_IMAGE} names no image of the platform")
    name = f"sspp-{secrets.token_hex(3)}"
    added = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if added.returncode != 0:
        pytest.skip(f"no network namespace can be made: {added.stderr.strip()}")
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)


def within(namespace: str) -> list[str]:
    """What goes before a command that is to run in the namespace."""
    return ["nsenter", f"--net=/run/netns/{namespace}"]


@dataclass
class Cluster:
    """Pods of a rendering, played in a network namespace.

    Attributes:
        rendering: whose.
        folder: for the files that podman reads.
        namespace: the name of the network namespace; it tells these pods from others of the same manifests.
        secrets: key → the value of what comes from outside of the manifests.
    """

    rendering: Rendering
    folder: Path
    namespace: str
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    _played: list[Path] = field(default_factory=list)

    def pod(self, workload: Workload) -> str:
        return f"{workload.document['metadata']['name']}-{self.namespace}"

    def container(self, workload: Workload) -> str:
        """The name of its main container."""
        [container] = workload.containers(initial=False)
        return f"{self.pod(workload)}-{container['name']}"

    def podman(
        self, *arguments: str, timeout: float = 150, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run podman in the namespace; its own containers find the network that it has itself."""
        command = [*within(self.namespace), "podman", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, **options
        )  # type: ignore[call-overload, no-any-return]

    def play(self, workloads: Sequence[Workload]) -> None:
        """Start the pods of `workloads`, whose init containers are waited for."""
        documents = [self._as_pod(workload) for workload in workloads]
        path = self.folder / f"play-{secrets.token_hex(3)}.yaml"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        self._played.append(path)
        played = self.podman("play", "kube", "--network=host", str(path))
        assert played.returncode == 0, played.stdout + played.stderr

    def complete(self, workload: Workload) -> tuple[int, str]:
        """Run a CronJob once; returns its exit code, and what it printed."""
        self.play([workload])
        waited = self.podman("wait", self.container(workload))
        logged = self.podman("logs", self.container(workload))
        return int(waited.stdout), logged.stdout + logged.stderr

    def stop(self, workload: Workload) -> int:
        """Ask a pod to end, for as long as Kubernetes would wait; returns its main container's exit code."""
        grace = workload.spec["terminationGracePeriodSeconds"]
        stopped = self.podman("pod", "stop", "--time", str(grace), self.pod(workload))
        assert stopped.returncode == 0, stopped.stderr
        found = self.podman("inspect", "--format", "{{.State.ExitCode}}", self.container(workload))
        return int(found.stdout)

    def tell(self) -> None:
        """Print how the pods are, for whoever looks into a failure."""
        listed = self.podman(
            "ps", "--all", "--filter", f"name={self.namespace}", "--format", "{{.Names}} {{.Status}}"
        )
        sys.stdout.write(listed.stdout + listed.stderr)
        for line in listed.stdout.splitlines():
            logged = self.podman("logs", "--tail", "15", line.split()[0])
            sys.stdout.write(f"--- {line}\n{logged.stdout}{logged.stderr}\n")

    def remove(self) -> None:
        for path in reversed(self._played):
            self.podman("play", "kube", "--down", str(path))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _value(self, key: str, value: str | None) -> str:
        given = self.secrets.get(key, value)
        assert given is not None, f"{key} comes from outside, and the test has no value for it"
        return given

    def _hosts(self) -> Path:
        """A file for /etc/hosts that knows the Services."""
        path = self.folder / "hosts"
        names = "".join(f"127.0.0.1 {name}\n" for name in sorted(self.rendering.names("Service")))
        path.write_text(f"127.0.0.1 localhost\n{names}")
        path.chmod(0o644)
        return path

    def _as_pod(self, workload: Workload) -> Document:
        spec = copy.deepcopy(workload.spec)
        volumes = spec.setdefault("volumes", [])
        for claim in workload.document["spec"].get("volumeClaimTemplates", []):
            name = claim["metadata"]["name"]
            volumes.append(
                {"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{self.pod(workload)}"}}
            )
        group = spec["securityContext"]["fsGroup"]
        spec["volumes"] = [
            {
                "name": volume["name"],
                "hostPath": {"path": str(self._folder_of(volume, workload, group)), "type": "Directory"},
            }
            for volume in volumes
        ]
        spec["volumes"].append({"name": "hosts", "hostPath": {"path": str(self._hosts()), "type": "File"}})
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            self._fit(container)
        if "initContainers" in spec:
            spec["restartPolicy"] = "OnFailure"  # else podman starts init containers again that have ended
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.pod(workload), "labels": workload.labels},
            "spec": spec,
        }

    def _folder_of(self, volume: Document, workload: Workload, group: int) -> Path:
        """The folder that is the volume, with its files, for the group of the pod's volumes."""
        if claim := volume.get("persistentVolumeClaim"):
            path = self.folder / claim["claimName"]
        else:
            path = self.folder / self.pod(workload) / volume["name"]
        path.mkdir(parents=True, exist_ok=True)
        if source := volume.get("configMap"):
            self._fill(path, self.rendering.config[source["name"]], source, group)
        elif source := volume.get("secret"):
            self._fill(path, self.rendering.secrets[source["secretName"]], source, group)
        os.chown(path, -1, group)
        path.chmod(0o2777)
        return path

    def _fill(self, path: Path, values: Mapping[str, str | None], source: Document, group: int) -> None:
        paths = {item["key"]: item["path"] for item in source.get("items", [])} or {
            key: key for key in values
        }
        for key, name in paths.items():
            (path / name).write_text(self._value(key, values[key]))
            os.chown(path / name, -1, group)
            (path / name).chmod(source.get("defaultMode", 0o644) | stat.S_IRGRP)

    def _fit(self, container: Document) -> None:
        container["imagePullPolicy"] = "Never"
        if container["image"].rpartition("/")[2].startswith("sspp:"):
            container["image"] = os.environ[_IMAGE]
        values = self.rendering.environment(container)
        container["env"] = [{"name": name, "value": self._value(key, value)} for name, value, key in values]
        for left_out in ("envFrom", "ports", *_PROBES):
            container.pop(left_out, None)
        mounts = container.setdefault("volumeMounts", [])
        mounts.append({"name": "hosts", "mountPath": "/etc/hosts", "readOnly": True})


@contextmanager
def playing(cluster: Cluster) -> Iterator[Cluster]:
    """`cluster`, whose pods and volumes are removed at the end. Skips the test if an image is not there."""
    images = {each["image"] for work in cluster.rendering.workloads() for each in work.containers()}
    for image in sorted(image for image in images if not image.rpartition("/")[2].startswith("sspp:")):
        found = subprocess.run(["podman", "image", "exists", image], capture_output=True, check=False)
        if found.returncode != 0:
            pytest.skip(f"podman has no image {image}")
    cluster.folder.mkdir(exist_ok=True)
    try:
        yield cluster
    except BaseException:
        cluster.tell()
        raise
    finally:
        cluster.remove()
