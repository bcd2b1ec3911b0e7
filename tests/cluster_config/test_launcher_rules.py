"""Each rule for cluster/*.yaml, seen to complain: a value is changed, the fault names its file and field.

pytest tests/cluster_config/test_launcher_rules.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from checking.launcher import launcher_faults, placeholders

ROOT = Path(__file__).parents[2]

AWS = [
    # Ray's own
    ("max_workers: 8\n#", "max_wrokers: 8\n#", "top", "'max_wrokers' was unexpected"),
    ("head_node_type: head", "head_node_type: haed", "top", "`head_node_type` must be one of"),
    ("cluster_name: stargan-ray\n", "", "cluster_name", "is not there"),
    ("idle_timeout_minutes: 10", "idle_timeout_minutes: soon", "idle_timeout_minutes", "is not of type 'number'"),
    # the token
    ('  "~/.ray": "~/.ray"\n', '  "/x": "/x"\n', "file_mounts", "the token"),
    ("    - --env RAY_AUTH_MODE=token\n", "", "docker.run_options", "--env RAY_AUTH_MODE=token"),
    ("  - . /opt/stargan-ray/cluster/node.sh && ray stop", "  - ray stop", "head_start_ray_commands[0]", "node.sh"),
    # what is open
    ("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "head_start_ray_commands", "--dashboard-host=127.0.0.1"),
    (
        "    GroupName: stargan-ray\n",
        "    GroupName: stargan-ray\n    IpPermissions: [{FromPort: 8265, ToPort: 8265, IpProtocol: tcp}]\n",
        "provider.security_group.IpPermissions[0]",
        "ssh (22) alone",
    ),
    ("--ulimit nofile=65536:65536", "--publish 8265:8265", "docker.run_options", "is not allowed"),
    ("HttpTokens: required", "HttpTokens: optional", "node_config.MetadataOptions", "HttpTokens: required"),
    # how the nodes find each other
    ("$NODE_IP", "auto", "worker_start_ray_commands", '--node-ip-address="$NODE_IP"'),
    ('node.sh "$RAY_HEAD_IP"', "node.sh", "worker_start_ray_commands", "gloo and NCCL would guess"),
    ("$RAY_HEAD_IP:6379", "$RAY_HEAD_IP:6380", "worker_start_ray_commands", "$RAY_HEAD_IP:6379"),
    ("setup_commands: []\nhead_setup", "head_setup", "setup_commands", "Ray would fill in its own"),
    # the machines and their cost
    ("cache_stopped_nodes: false", "cache_stopped_nodes: true", "provider.cache_stopped_nodes", "allowed is false"),
    ("idle_timeout_minutes: 10", "idle_timeout_minutes: 0", "idle_timeout_minutes", "bounds the cost"),
    ("min_workers: 2", "min_workers: 9", "top", "smaller than the sum of `min_workers`"),
    ("    min_workers: 2\n    max_workers: 8\n", "    min_workers: 2\n", "gpu-spot.max_workers", "bounds the cost"),
    ("InstanceMarketOptions: {MarketType: spot}", "EbsOptimized: true", "available_node_types", "on spot and others"),
    (
        "InstanceType: m7i.xlarge",
        "InstanceType: m7i.xlarge\n      InstanceMarketOptions: {MarketType: spot}",
        "available_node_types.head",
        "as the head",
    ),
    ("GPU: 1", "TPU: 1", "available_node_types", "none has resources"),
    ("IamInstanceProfile: {Name: stargan-ray-node}", "EbsOptimized: true", "node_config.IamInstanceProfile", "keys"),
    ("&image ami-00000000000000000", "&image latest", "node_config.ImageId", "ami-…"),
    ("Encrypted: true", "Encrypted: false", "node_config.BlockDeviceMappings", "encrypted"),
    # a machine that is taken away
    ("jobs/notice.py", "jobs/notices.py", "worker_start_ray_commands", "becomes a drain"),
    (" setsid --fork", "", "worker_start_ray_commands", "becomes a drain"),
    ("notice.log 2>&1", "notice.log", "worker_start_ray_commands", "becomes a drain"),
    # the container
    ("stargan-ray:0.1.0", "stargan-ray:latest", "docker.image", "no fixed version"),
    ("stargan-ray:0.1.0", "stargan-ray", "docker.image", "no fixed version"),
    ("  worker_run_options:\n    - --shm-size=20g\n", "", "docker.worker_run_options", "--shm-size"),
]
LOCAL = [
    ("cluster_name:", "min_wokers: 1\ncluster_name:", "top", "'min_wokers' was unexpected"),
    ("head_ip: 192.168.0.10", "head_ip: 127.0.0.1", "provider", "127.0.0.1: allowed are addresses"),
    ("192.168.0.12", "gpu-2.local", "provider", "gpu-2.local: allowed are addresses"),
    ("192.168.0.12", "192.168.0.11", "provider", "twice"),
    ("head_ip: 192.168.0.10", "head_ip: 192.168.0.9", "head_start_ray_commands", "allowed is head_ip, 192.168.0.9"),
    ("node.sh 192.168.0.10 &&", "node.sh &&", "head_start_ray_commands", "node.sh is given None"),
    ('--head --node-ip-address="$NODE_IP"', "--head", "head_start_ray_commands", '--node-ip-address="$NODE_IP"'),
    ('  "~/.ray/auth_token": "~/.ray/auth_token"\n', "", "file_mounts", "the token"),
    (". ~/stargan-ray/node.sh && python -m", "python -m", "setup_commands[1]", "does not source node.sh"),
    ("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "head_start_ray_commands", "--dashboard-host=127.0.0.1"),
    (" --block", "", "worker_start_ray_commands", "setsid --fork ray start --block"),
    (">> ~/.bashrc", ">> ~/.ray/bashrc", "setup_commands", "would stop nothing"),
    ("cluster_name: stargan-ray-local\n", "cluster_name: {\n", "YAML", "expected"),
]


@pytest.mark.parametrize(("old", "new", "field", "said"), AWS, ids=lambda value: None)
def test_a_fault_in_gpu_yaml_is_named(old: str, new: str, field: str, said: str, tmp_path: Path) -> None:
    planted("gpu.yaml", old, new, field, said, tmp_path)


@pytest.mark.parametrize(("old", "new", "field", "said"), LOCAL, ids=lambda value: None)
def test_a_fault_in_local_yaml_is_named(old: str, new: str, field: str, said: str, tmp_path: Path) -> None:
    planted("local.yaml", old, new, field, said, tmp_path)


def planted(name: str, old: str, new: str, field: str, said: str, folder: Path) -> None:
    text = (ROOT / "cluster" / name).read_text()
    assert old in text
    changed = folder / name
    changed.write_text(text.replace(old, new))
    faults = list(launcher_faults(changed, name))
    assert any(f.file == name and f.field.endswith(field) and said in f.what for f in faults), [str(f) for f in faults]


def test_what_is_still_to_be_replaced_is_told() -> None:
    assert placeholders((ROOT / "cluster/gpu.yaml").read_text()) == ["123456789012", "ami-00000000000000000"]
    assert placeholders((ROOT / "cluster/local.yaml").read_text()) == []
