"""Which column of an exported list is which of unbrick's: headings of common tools in several languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from unbrick.errors import UsageError

COLUMNS = ("name", "serial", "site", "service", "priority", "owner")
HINT = "a CSV with the columns name,serial,site,service,priority,owner is understood"

# Without case, accents, spaces and signs. Where a list has several for one column, the one in the earliest
# text is taken: a heading that can only mean a computer comes before `name`, which may be a person's.
_KNOWN: dict[str, tuple[str, ...]] = {
    "name": (
        "computername hostname devicename machinename pcname netbiosname netbioscomputername systemname "
        "workstationname devicehostname pscomputername computerhostname "
        "endpointname clientname nodename vmname "
        "rechnername geratename geraetename maschinenname computer host rechner "
        "nomdelordinateur nomdordinateur nomordinateur nomduposte nomdeposte nomdupc nomdelamachine "
        "nomdemachine nommachine nomdelappareil nomdhote nomdelhote nomhote ordinateur "
        "nombredelequipo nombredeequipo nombreequipo nombredeldispositivo nombrededispositivo nombredehost "
        "nombredelhost nombredelordenador nombredelamaquina ordenador "
        "nomecomputer nomedelcomputer nomedispositivo nomedeldispositivo nomehost nomedellhost nomepc "
        "nomemacchina computernaam apparaatnaam naamvanapparaat hostnaam machinenaam pcnaam toestelnaam "
        "nomedocomputador nomedodispositivo nomedohost nomedamaquina nomedoequipamento "
        "nazwakomputera nazwaurzadzenia nazwahosta datornamn enhetsnamn vardnamn computernavn enhedsnavn "
        "datamaskinnavn enhetsnavn maskinnavn vertsnavn tietokoneennimi laitteennimi "
        "nazevpocitace nazevzarizeni",
        "name nom nombre nome naam nazwa namn navn nimi nazev",
        "assetname displayname cn device machine workstation pc endpoint vm "
        "gerat geraet equipo poste dispositivo",
        "dnshostname computerdnsname dnsname fqdn fullyqualifieddomainname fulldomainname samaccountname",
        "assettag inventorynumber inventarnummer inventarnr",
    ),
    "serial": (
        "serialnumber serial serialno serialnr sn servicetag biosserialnumber systemserialnumber biosserial "
        "computerserialnumber deviceserialnumber hardwareserialnumber hardwareserial "
        "seriennummer seriennr serienr seriennumer numerodeserie numeroserie numserie ndeserie nodeserie "
        "nserie numerodiserie numeroseriale seriale matricola serienummer numerdeserie "
        "numerseryjny nrseryjny serienummr sarjanumero seriovecislo vyrobnicislo",
    ),
    "site": (
        "site sitename standort standortname sitio sede locatie vestiging filiale niederlassung",
        "location ort emplacement localisation lieu ubicacion localizacion posizione ubicazione luogo "
        "localizacao localidade lokalizacja plats lokation placering lokasjon plassering toimipiste sijainti "
        "umisteni pobocka locationname iplocation defaultlocation",
        "office branch branchoffice buro buero kantoor bureau oficina ufficio escritorio "
        "physicaldeliveryofficename",
        "building campus gebaude gebaeude batiment edificio gebouw adsitename",
    ),
    "service": (
        "service businessservice dienst servicio servizio servico",
        "department abteilung departement departamento dipartimento reparto afdeling fachbereich avdelning",
    ),
    "priority": (
        "priority prioritat prioritaet priorite prioridad priorita prioriteit prioridade priorytet prioritet",
        "criticality businesscriticality kritikalitat kritikalitaet criticite criticidad criticita",
    ),
    "owner": (
        "owner ownedby assetowner besitzer eigentumer eigentuemer verantwortlich verantwortlicher "
        "proprietaire responsable propietario proprietario responsabile eigenaar wlasciciel agare ejer eier",
    ),
}
_REMARK = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_PLACES = {
    word: (column, rank)
    for column, ranks in _KNOWN.items()
    for rank, words in enumerate(ranks)
    for word in words.split()
}


@dataclass(frozen=True)
class Columns:
    """The index of each column, its heading in the list, and the headings that are not used."""

    places: dict[str, int]
    headings: dict[str, str]
    ignored: tuple[str, ...]


def column_of(heading: str) -> str | None:
    known = _place(heading)
    return known[0] if known else None


def columns_of(cells: Sequence[str], name: str) -> Columns:
    """The columns in the headings of the file `name`; raises UsageError where one is there twice."""
    best: dict[str, tuple[int, int]] = {}
    for index, cell in enumerate(cells):
        known = _place(cell)
        if known is None:
            continue
        column, rank = known
        other = best.get(column)
        if other is not None and rank == other[0] and _plain(cell) == _plain(cells[other[1]]):
            raise UsageError(f"{name} has the column {_shown(cell)} twice", hint=HINT)
        if other is None or rank < other[0]:
            best[column] = (rank, index)
    places = {column: best[column][1] for column in COLUMNS if column in best}
    used = set(places.values())
    return Columns(
        places,
        {column: _shown(cells[index]) for column, index in places.items()},
        tuple(_shown(cell) for index, cell in enumerate(cells) if index not in used and cell.strip()),
    )


def _place(heading: str) -> tuple[str, int] | None:
    # With a table's name before it or a remark after it: tblAssets.AssetName, Computer name (NetBIOS).
    for text in (heading, _REMARK.sub("", heading), heading.rpartition(".")[2]):
        plain = _plain(text)
        # Views of Configuration Manager number their columns: Name0, SerialNumber00.
        place = _PLACES.get(plain) or _PLACES.get(plain.rstrip("0"))
        if place:
            return place
    return None


def _plain(heading: str) -> str:
    letters = unicodedata.normalize("NFKD", heading.casefold().replace("ł", "l"))
    return "".join(character for character in letters if character.isalnum())


def _shown(heading: str) -> str:
    return " ".join(heading.split())[:60]
