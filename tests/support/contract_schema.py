"""The contract's `--json` document as a JSON Schema: exactly these keys, exactly these words."""

from __future__ import annotations

from typing import Any

import jsonschema

EXIT_CODES = {
    "failed": 1,
    "needs-hands": 5,
    "needs-key": 4,
    "found": 3,
    "repaired": 0,
    "undone": 0,
    "healthy": 0,
    "scanned": 0,
}
WORST_FIRST = tuple(EXIT_CODES)

_KINDS = ["bitlocker", "ntfs", "fat", "refs", "raid-member", "ldm", "storage-spaces"]
_KINDS += ["foreign-encryption", "unknown"]
_PROTECTORS = ["recovery-password", "tpm", "tpm-pin", "startup-key", "passphrase", "clear-key"]
_PROTECTORS += ["smart-card", "unknown"]
_WORD = r"^[a-z0-9]+(-[a-z0-9]+)*(:[a-z0-9-]+)?$"
_REASON = {"anyOf": [{"type": "null"}, {"type": "string", "pattern": _WORD}]}
_TEXT = {"type": ["string", "null"]}
_GUID = {"type": "string", "pattern": "^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$"}
_WINDOWS_PATH = {"type": "string", "pattern": r"^\\"}


def _exactly(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _list_of(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


_FILE = _exactly(
    path=_WINDOWS_PATH,
    sha256={"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
    size={"type": "integer", "minimum": 0},
    modified={"type": ["string", "null"], "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
)
_STATUS = {"enum": list(EXIT_CODES)}

DOCUMENT = _exactly(
    disk={"type": "string"},
    status=_STATUS,
    reason=_REASON,
    run=_TEXT,
    machine=_exactly(
        smbios_uuid=_TEXT,
        serial=_TEXT,
        disk_guid={"anyOf": [{"type": "null"}, _GUID, {"type": "string", "pattern": "^[0-9A-F]{8}$"}]},
        hostnames=_list_of({"type": "string"}),
    ),
    volumes=_list_of(
        _exactly(
            partition={"type": ["integer", "null"], "minimum": 1},
            kind={"enum": _KINDS},
            state={"enum": ["open", "locked", "unlocked", "converting", "damaged"]},
            filesystem={"enum": ["clean", "dirty", "unclean-log", "hibernated", None]},
            protectors=_list_of(_exactly(id=_GUID, kind={"enum": _PROTECTORS})),
        )
    ),
    installations=_list_of(
        _exactly(
            partition={"type": ["integer", "null"], "minimum": 1},
            hostname=_TEXT,
            windows=_TEXT,
            status=_STATUS,
            reason=_REASON,
            findings=_list_of(_exactly(playbook={"type": "string"}, files=_list_of(_FILE))),
            actions=_list_of(
                _exactly(
                    kind={"type": "string"},
                    path=_WINDOWS_PATH,
                    state={"enum": ["planned", "done", "undone", "failed"]},
                )
            ),
        )
    ),
    error=_TEXT,
)
"""What one line of `--json` has to be."""

_VALIDATOR = jsonschema.Draft202012Validator(DOCUMENT)


def check_document(document: Any) -> None:
    """Fails where a document is not what the contract says, or contradicts itself."""
    _VALIDATOR.validate(document)
    severity = WORST_FIRST.index
    for installation in document["installations"]:
        assert severity(document["status"]) <= severity(installation["status"])
    troubled = document["status"] in {"failed", "needs-hands", "needs-key"}
    assert (document["error"] is not None) == troubled, document
    assert troubled or document["reason"] is None, document
    assert document["status"] not in {"needs-hands", "needs-key"} or document["reason"], document
