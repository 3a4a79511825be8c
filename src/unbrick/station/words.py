"""What each reason means to somebody who has never seen it, and what the helpdesk does about it. Text only.

For the person at the machine: short sentences, no word of the trade. For the helpdesk: the trade's words.
"""

from __future__ import annotations

from dataclasses import dataclass

from unbrick.errors import Reason
from unbrick.model import Status

_LEAVE = "Leave the computer as it is. A person from IT has to look at it."
_AGAIN = "Switch the computer off, wait ten seconds, and start it from the stick again."
_STICK = "Start this computer again with another stick."
_RIGHT_DISK = "Check that this is the right computer."


@dataclass(frozen=True)
class Meaning:
    """One reason in words: what it is and what to do (for anyone), and what it means (for the helpdesk)."""

    what: str
    to_do: str
    helpdesk: str


MEANINGS: dict[Reason, Meaning] = {
    Reason.BAD_JOURNAL: Meaning(
        "An earlier repair left notes on this disk that do not fit what is there now.",
        _LEAVE,
        "The journal in \\Unbrick contradicts the files. None of it was obeyed; compare them by hand.",
    ),
    Reason.CONVERTING: Meaning(
        "Windows was in the middle of encrypting or decrypting this disk.",
        _LEAVE,
        "BitLocker is still converting: let a Windows finish it (manage-bde -status), then try again.",
    ),
    Reason.DAMAGED_METADATA: Meaning(
        "The part of the disk that belongs to its lock is damaged.",
        "Do not start this computer again before IT has copied its disk.",
        "BitLocker's metadata is damaged: copy the disk, then try repair-bde on the copy.",
    ),
    Reason.DAMAGED_TABLE: Meaning(
        "The list of what lies where on this disk is damaged.",
        "Do not start this computer again before IT has copied its disk.",
        "The partition table is damaged or contradicts itself: copy the disk before anything else.",
    ),
    Reason.DAMAGED_VOLUME: Meaning(
        "The disk's records are damaged. Windows has to repair them first.",
        "IT runs Windows' disk check on it. Then start it from this stick again.",
        "NTFS is damaged: run chkdsk /f from Windows' recovery environment, then this stick again.",
    ),
    Reason.DISK_FULL: Meaning(
        "There is too little free space on this disk to repair it safely.",
        _LEAVE,
        "Free some megabytes from Windows' recovery environment, then this stick again.",
    ),
    Reason.DISK_IN_USE: Meaning(
        "Something else is using this disk.",
        _AGAIN,
        "The disk is mounted, mapped or held by an array on the station.",
    ),
    Reason.DOUBTFUL_TIME: Meaning(
        "A file looks like the faulty one, but its date makes no sense.",
        _LEAVE,
        "A matching file's time cannot be judged. Check the computer's clock, and look at the file.",
    ),
    Reason.DYNAMIC_DISK: Meaning(
        "Windows manages this disk together with others, and it cannot be repaired alone.",
        _LEAVE,
        "Dynamic disk (LDM): remove the faulty file from Windows' recovery environment.",
    ),
    Reason.EMPTY_DISK: Meaning("There is nothing on this disk.", _RIGHT_DISK, "The disk holds no data."),
    Reason.FOREIGN_ENCRYPTION: Meaning(
        "This disk is locked by a product that unbrick has no key for.",
        _LEAVE,
        "Another vendor's encryption: use that product's own recovery.",
    ),
    Reason.FOREIGN_QUARANTINE: Meaning(
        "There is a folder named Unbrick on this disk that unbrick did not make.",
        _LEAVE,
        "Look at \\Unbrick and rename it, then try again.",
    ),
    Reason.HIBERNATED: Meaning(
        "Windows is asleep on this computer, perhaps with somebody's unsaved work.",
        "Ask the helpdesk whether that work may be lost. It was left alone.",
        "Hibernated (fast start counts): shut Windows down fully, or allow the session to be discarded.",
    ),
    Reason.IMAGE_MISMATCH: Meaning(
        "This disk is not what its name says.", _LEAVE, "The image's kind and its name differ."
    ),
    Reason.IMAGE_UNSAFE: Meaning(
        "This disk points at files that do not belong to it.",
        _LEAVE,
        "The image names other files of its host, and was not opened.",
    ),
    Reason.INTERRUPTED: Meaning(
        "The work was stopped before it was done. Nothing is lost.",
        "Start the computer from the stick again: it finishes what was begun.",
        "The run was interrupted. Any stick finishes it or takes it back.",
    ),
    Reason.KEY_MISSING: Meaning(
        "This disk is locked, and its recovery key is needed: 48 digits.",
        "Ask the helpdesk for the recovery key. Then start from the stick again.",
        "BitLocker: no source on the stick has the recovery password.",
    ),
    Reason.KEY_WRONG: Meaning(
        "This disk is locked, and the recovery keys that were tried do not open it.",
        "Ask the helpdesk for the right recovery key. Then start from the stick again.",
        "BitLocker: the passwords kept for this key ID do not open the volume.",
    ),
    Reason.MISSING_TOOL: Meaning(
        "A part of unbrick is missing on this stick.",
        _STICK,
        "A program is missing on the medium: check it with unbrick media verify.",
    ),
    Reason.NO_RUN: Meaning(
        "There is no repair on this disk that could be taken back.",
        _RIGHT_DISK,
        "No journal of unbrick was found on this disk.",
    ),
    Reason.NO_WINDOWS: Meaning(
        "No Windows was found on this disk.",
        "Check that this is the right computer, and that its disk is connected.",
        "No installation of Windows was found; the disk may be another one, or empty.",
    ),
    Reason.NOT_FOUND: Meaning(
        "A disk of this computer has gone while it was being looked at.",
        _AGAIN,
        "The device vanished: check its cable and its slot; the disk may be failing.",
    ),
    Reason.OPAL_LOCKED: Meaning(
        "This disk locks itself, and only its own password opens it.",
        _LEAVE,
        "Self-encrypting drive (OPAL), locked: unlock it, then restart without switching it off.",
    ),
    Reason.PERSON_DECIDES: Meaning(
        "A file may be the faulty one, but that is not certain.",
        _LEAVE,
        "A matching file is neither known to be good nor to be faulty: decide by hand.",
    ),
    Reason.PROTECTED_FILE: Meaning(
        "Windows needs the faulty file to start, so it was left where it is.",
        _LEAVE,
        "The matching file is one that Windows loads early: replace it by hand.",
    ),
    Reason.RAID_MEMBER: Meaning(
        "This disk works in a team with another one, and the team is not complete.",
        "Check that all disks are connected. Then start from the stick again.",
        "A RAID member whose array could not be put together: a member alone is never written.",
    ),
    Reason.READ_ONLY: Meaning(
        "This disk does not let anything be written to it.",
        _LEAVE,
        "Write-protected, or it could not be mounted for writing: the disk may be failing.",
    ),
    Reason.REFS: Meaning(
        "The disk has a form that unbrick does not repair.", _LEAVE, "A ReFS volume: use Windows' own tools."
    ),
    Reason.SOMETHING_IN_THE_WAY: Meaning(
        "Where the old file belongs there is another file now.",
        _LEAVE,
        "The undo found another file at the old place and changed nothing.",
    ),
    Reason.STORAGE_SPACES: Meaning(
        "Windows manages this disk together with others, and it cannot be repaired alone.",
        _LEAVE,
        "Storage Spaces: attach the whole pool to a Windows machine.",
    ),
    Reason.TIMED_OUT: Meaning(
        "Something on this computer took too long to answer.",
        _AGAIN,
        "A program did not answer in time: the disk may be failing.",
    ),
    Reason.TOO_MANY_FILES: Meaning(
        "More files look faulty than there should be.",
        _LEAVE,
        "More matches than the playbook may move: it may be another fault.",
    ),
    Reason.TRUNCATED: Meaning(
        "This disk ends before it should.", _LEAVE, "The disk is shorter than its partition table says."
    ),
    Reason.UNCLEAN_LOG: Meaning(
        "Windows stopped in the middle of writing to this disk.",
        "Ask the helpdesk. Nothing was changed.",
        "The NTFS journal cannot be replayed: chkdsk /f from Windows' recovery, or allow it to be reset.",
    ),
    Reason.UNKNOWN_PLAYBOOK: Meaning(
        "This computer was repaired with newer instructions than this stick has.",
        _STICK,
        "A journal on the disk names a playbook that this medium does not have: use a newer medium.",
    ),
    Reason.UNREADABLE_DISK: Meaning(
        "This disk cannot be read. It may be breaking.",
        "Switch the computer off and leave it off until IT has looked at its disk.",
        "Read errors: copy the disk first.",
    ),
    Reason.UNREADABLE_FILE: Meaning(
        "A file that may be the faulty one cannot be read.", _LEAVE, "A matching file cannot be read."
    ),
    Reason.UNREADABLE_HIVE: Meaning(
        "The settings of Windows on this disk cannot be read.",
        _LEAVE,
        "The SYSTEM hive cannot be read, so which files Windows needs is not known.",
    ),
    Reason.VERIFY_FAILED: Meaning(
        "The repair was checked, and the check did not find what it should.",
        _AGAIN,
        "What was read back differs from what was written: the disk may be failing.",
    ),
}

_BY_STATUS: dict[Status, Meaning] = {
    Status.FAILED: Meaning("Something went wrong.", _AGAIN, "The work failed."),
    Status.NEEDS_HANDS: Meaning(
        "A person has to look at this computer.", _LEAVE, "Nothing is written here without a person."
    ),
    Status.NEEDS_KEY: MEANINGS[Reason.KEY_MISSING],
}


def meaning_of(status: Status, reason: str | None) -> Meaning:
    """The words for a troubled disk; a reason may carry a detail (`foreign-encryption:luks`).

    A word that this version does not know is left to what the status says.
    """
    word = (reason or "").partition(":")[0]
    try:
        return MEANINGS[Reason(word)]
    except ValueError:
        return _BY_STATUS.get(status, _BY_STATUS[Status.NEEDS_HANDS])
