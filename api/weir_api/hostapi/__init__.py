"""The host API: what clients of KohakuRiver's host speak."""
