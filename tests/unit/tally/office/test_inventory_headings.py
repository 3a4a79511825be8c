"""The columns of the exports that people have are known, and what became of each is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.tally_events import Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.cli.tally import command
from unbrick.model import Machine
from unbrick.tally.folder import TallyFolder, parse_address
from unbrick.tally.office.inventory import parse_inventory
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority

EXPORTS = {
    "Intune": "Device ID,Device name,OS version,Primary user UPN,Serial number|x,W-1,10.0,k@x.example,SN-1",
    "Active Directory": '"DistinguishedName","DNSHostName","Name","Location","SamAccountName"'
    '|"CN=W-1,OU=x","w-1.corp.example","W-1","north","W-1$"',
    "Active Directory, one column": "sAMAccountName|W-1$",
    "Active Directory, DNS": "DNSHostName,PhysicalDeliveryOfficeName|w-1.corp.example,north",
    "Configuration Manager": "Netbios_Name0;SerialNumber0;AD_Site_Name0;User_Name0|W-1;SN-1;north;kim",
    "Configuration Manager, a view": "Name0,SerialNumber00|W-1,SN-1",
    "Jamf": "Computer Name,Serial Number,Asset Tag,Building,Department|W-1,SN-1,4711,north,triage",
    "Lansweeper": "AssetName;Domain;Serialnumber;Location|W-1;CORP;SN-1;north",
    "GLPI": "Nom;Entité;Numéro de série;Lieu;Utilisateur|W-1;x;SN-1;north;kim",
    "ServiceNow": "name,asset_tag,serial_number,location,assigned_to,department|W-1,P1,SN-1,north,Kim,triage",
    "Snipe-IT": "Asset Tag,Asset Name,Serial,Model,Location|4711,W-1,SN-1,x,north",
    "Snipe-IT without names": "Asset Tag,Serial,Location|W-1,SN-1,north",
    "PowerShell": "Name,PSComputerName,SerialNumber|Default System BIOS,W-1,SN-1",
    "German": "Rechnername;Seriennummer;Standort;Abteilung;Priorität|W-1;SN-1;north;triage;1",
    "French": "Nom de l'ordinateur;N° de série;Emplacement|W-1;SN-1;north",
    "Spanish": "Nombre del equipo;Número de serie;Ubicación;Departamento|W-1;SN-1;north;triage",
    "Italian": "Nome computer;Numero di serie;Sede;Reparto|W-1;SN-1;north;triage",
    "Dutch": "Computernaam;Serienummer;Locatie;Afdeling|W-1;SN-1;north;triage",
    "Portuguese": "Nome do computador;Número de série;Localização|W-1;SN-1;north",
    "Polish": "Nazwa komputera;Numer seryjny;Lokalizacja|W-1;SN-1;north",
    "a table's name before": "tblAssets.AssetName,tblAssetCustom.Serialnumber,tblAssets.Domain|W-1,SN-1,x",
    "a remark behind": "Computer name (NetBIOS),Serial number [BIOS]|W-1,SN-1",
    "a person's name beside": "Name;Computer name;Office|Kim Lee;W-1;north",
    "a title that is a heading's word": "Computer|Name;Seriennummer;Standort|W-1;SN-1;north",
}


@pytest.mark.parametrize("tool", EXPORTS)
def test_the_headings_of_common_exports_are_known(tool: str) -> None:
    text = EXPORTS[tool].replace("|", "\n") + "\n"
    read = parse_inventory(text, "x.csv")
    (line,) = read.lines.values()
    assert line["name_key"] == "W-1"
    for column, value in (("serial", "SN-1"), ("site", "north"), ("service", "triage")):
        assert line[column] == (value if value in text else None), column


@pytest.fixture
def folder(tmp_path: Path) -> TallyFolder:
    folder = create_authority(tmp_path / "tally", parse_address("127.0.0.1:2291"), site="main")
    Store.open(folder.database).close()
    return folder


def import_list(folder: TallyFolder, text: str, *options: str) -> Result:
    path = folder.database.parent.parent / "list.csv"
    path.write_text(text)
    return CliRunner().invoke(
        command, ["inventory", "import", str(folder.database.parent), str(path), *options]
    )


def test_the_import_says_which_column_became_what_and_which_was_not_used(folder: TallyFolder) -> None:
    result = import_list(folder, "Gerätename;Modell;Seriennummer;Standort\nW-1;T480;SN-1;north\n")
    assert result.exit_code == 0
    assert result.stdout == "1 added, 0 updated, 0 unchanged, 0 removed, 0 not usable\n"
    assert result.stderr == (
        'unbrick: list.csv: "Gerätename" is the name, "Seriennummer" is the serial number, '
        '"Standort" is the site; not used: "Modell"\n'
    )


def test_contradicting_lines_are_named_and_change_the_exit_code(folder: TallyFolder) -> None:
    result = import_list(folder, "name,serial\nW-1,SN-1\nW-1,SN-2\n")
    assert result.exit_code == 1
    assert "1 contradicting another line or what is known" in result.stdout
    assert "contradiction, line 3: the machine of line 2 with another serial number" in result.stderr


def test_without_a_terminal_a_list_takes_machines_away_only_with_yes(folder: TallyFolder) -> None:
    import_list(folder, "name,site\n" + "".join(f"W-{number:03},north\n" for number in range(100)))
    with Store.open(folder.database) as store:
        store.add(Told(1, Machine(uuid(1), None, disk(1), ("W-007",))).story("repaired"))
    refused = import_list(folder, 'name\nW-001\n"W-002\n', "--replace")
    assert "lines of list.csv that cannot be used, and so name no machine: 1" in refused.stderr
    assert refused.exception is not None
    assert getattr(refused.exception, "exit_code", None) == 2
    assert "98 of 100 expected machines are not in list.csv and go: W-000, W-002" in refused.stderr
    assert "1 is not in list.csv and stays, because a medium reported" in refused.stderr
    assert "1 machine loses its site" in refused.stderr
    with Store.open(folder.database) as store:
        assert store.summary().total == 100
    done = import_list(folder, "name\nW-001\n", "--replace", "--yes")
    assert (done.exit_code, "98 removed" in done.stdout) == (0, True)
    with Store.open(folder.database) as store:
        assert [row.name for row in store.machines()] == ["W-001", "W-007"]
        assert faults_of(store) == ()


def test_a_list_that_takes_nothing_away_needs_no_answer(folder: TallyFolder) -> None:
    import_list(folder, "name,site\nW-1,north\n")
    assert import_list(folder, "name,site\nW-1,south\nW-2,south\n", "--replace").exit_code == 0


def _lines(folder: TallyFolder) -> list[Any]:
    with Store.open(folder.database) as store:
        return [dict(line) for line in store.inventory_lines()]


def _restored(folder: TallyFolder, *options: str) -> Result:
    return CliRunner().invoke(command, ["inventory", "restore", str(folder.path), *options])


def test_a_list_that_was_replaced_is_put_back_as_it_was(folder: TallyFolder) -> None:
    assert getattr(_restored(folder).exception, "exit_code", None) == 2
    cells = '"W-1",SN-1,north,"a ""b"", c",1,kim\n,SN-2,south,,,\nW-3,,,,,\n'
    import_list(folder, f"name,serial,site,service,priority,owner\n{cells}")
    before = _lines(folder)
    assert len(before) == 3
    refused = import_list(folder, "name\n", "--replace", "--yes")
    assert getattr(refused.exception, "exit_code", None) == 2
    assert _lines(folder) == before
    emptied = import_list(
        folder, "name\n", "--replace", "--yes", "--empty", "--who", "kim", "--reason", "new year"
    )
    assert (emptied.exit_code, "3 removed" in emptied.stdout) == (0, True)
    assert f"unbrick tally inventory restore {folder.path}" in emptied.stdout
    assert _lines(folder) == []
    noted = json.loads(folder.audit.read_text().splitlines()[-1])
    assert (noted["removed"], noted["who"], noted["reason"]) == (3, "kim", "new year")
    back = _restored(folder, "--yes", "--reason", "a slip")
    assert (back.exit_code, "3 added" in back.stdout) == (0, True), back.output
    assert _lines(folder) == before
    noted = json.loads(folder.audit.read_text().splitlines()[-1])
    assert (noted["what"], noted["added"], noted["reason"]) == ("inventory restored", 3, "a slip")
    assert _restored(folder, "--yes").exit_code == 0, "and once more takes that back"
    assert _lines(folder) == []


def test_an_import_is_in_the_audit_with_who(folder: TallyFolder) -> None:
    import_list(folder, "name\nW-1\n")
    noted = json.loads(folder.audit.read_text().splitlines()[-1])
    assert (noted["what"], noted["file"], noted["added"]) == ("inventory imported", "list.csv", 1)
    assert noted["by"]
