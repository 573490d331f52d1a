"""Examples for the document of the API."""

from typing import Any

_ID = "1734029384756102938"

TASK: dict[str, Any] = {
    "task_id": _ID,
    "task_type": "command",
    "batch_id": _ID,
    "name": None,
    "owner_id": 4173239615688981,
    "owner_username": "ann",
    "approval_status": None,
    "approved_by_id": None,
    "approved_by_username": None,
    "approved_at": None,
    "rejection_reason": None,
    "command": "python train.py",
    "arguments": ["--epochs", "3"],
    "env_vars": {"SEED": "7"},
    "required_cores": 4,
    "required_gpus": [0],
    "required_memory_bytes": 8589934592,
    "target_numa_node_id": None,
    "status": "running",
    "assigned_node": "n1",
    "container_name": "torch",
    "docker_image_name": "registry.example.org/torch:2.9",
    "docker_privileged": False,
    "docker_mount_dirs": [],
    "ssh_port": None,
    "vps_backend": "docker",
    "vm_image": None,
    "vm_disk_size": None,
    "vm_ip": None,
    "stdout_path": f"/api/tasks/{_ID}/stdout",
    "stderr_path": f"/api/tasks/{_ID}/stderr",
    "exit_code": None,
    "error_message": None,
    "submitted_at": "2026-11-22T10:00:00.123456+00:00",
    "started_at": "2026-11-22T10:00:01.234567+00:00",
    "completed_at": None,
}

SUBMIT: dict[str, Any] = {
    "command": "python",
    "arguments": ["train.py", "--epochs", "3"],
    "env_vars": {"SEED": "7"},
    "required_cores": 4,
    "targets": ["n1:0", "n2"],
    "required_gpus": [[0], [1]],
    "container_name": "torch",
}

SUBMITTED: dict[str, Any] = {
    "message": "2 tasks submitted",
    "task_ids": [_ID, "2136698683232758466"],
    "assigned_node": {"hostname": "n2", "url": "https://10.0.0.6:8443"},
    "runner_response": True,
}

APPROVED = {"message": "task approved", "task_id": _ID}
REJECTED = {"message": "task rejected", "task_id": _ID, "reason": "too big"}
