"""The words that the generated documents are made of: an invented freight company's."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Prose:
    """Sentences made of three parts, each of which goes with every other."""

    who: tuple[str, ...]
    what: tuple[str, ...]
    how: tuple[str, ...]

    def sentence(self, rng: Random) -> str:
        """Draw one sentence."""
        return f"{rng.choice(self.who)} {rng.choice(self.what)} {rng.choice(self.how)}."

    def paragraph(self, rng: Random, sentences: int) -> str:
        """Draw some sentences, one a line."""
        return "\n".join(self.sentence(rng) for _ in range(sentences))


OPERATIONS = Prose(
    who=(
        "The on-call engineer",
        "The platform group",
        "Whoever takes the pager",
        "The shift lead",
        "The release captain",
        "The storage group",
        "The network desk",
        "The night operator",
        "The database group",
        "The customer desk",
    ),
    what=(
        "checks the queue depth",
        "drains one node at a time",
        "compares the write lag of both regions",
        "reads the last fifty lines of the gateway log",
        "restarts the consumers one by one",
        "confirms that the backups of the night are complete",
        "moves the traffic to the standby site",
        "pauses the batch jobs",
        "asks the depot whether scanning still works",
        "notes the time and the error ratio in the channel",
        "looks at the dashboard of the label printers",
        "rolls the configuration back to the last known good one",
        "raises the connection limit by a quarter",
        "warns the depots by telephone",
    ),
    how=(
        "before anything else is touched",
        "within a quarter of an hour",
        "unless the depot has already closed",
        "and writes down what was seen",
        "when the error ratio stays above two percent",
        "while a second person watches the graphs",
        "after the morning sort has finished",
        "and waits for ten minutes of calm",
        "as agreed with the customer desk",
        "even if the alert clears by itself",
        "so that no parcel is routed twice",
        "until the partner confirms receipt",
    ),
)
OFFICE = Prose(
    who=(
        "Every employee",
        "The line manager",
        "The finance desk",
        "A new colleague",
        "The depot manager",
        "Anyone who travels",
        "The people team",
        "The safety officer",
        "The works council",
        "A visitor's host",
    ),
    what=(
        "keeps the original receipt",
        "records the working time in the portal",
        "asks for approval in writing",
        "completes the yearly safety course",
        "returns the badge at reception",
        "books trains rather than flights",
        "uses the shared calendar for absences",
        "stores personal data only in the records system",
        "reports a lost device by telephone",
        "names a deputy for every absence",
        "signs the visitors' book",
        "checks the fire doors of the floor",
        "locks the screen when leaving the desk",
    ),
    how=(
        "before the end of the month",
        "on the first working day",
        "unless the contract says otherwise",
        "and informs the team",
        "for journeys of less than six hours",
        "in the language of the site",
        "with a copy to the finance desk",
        "once a quarter",
        "as the insurance requires",
        "without being asked twice",
        "when working from another site",
        "and files the confirmation",
    ),
)
MEETING = Prose(
    who=(
        "Marta",
        "Jonas",
        "Ilse",
        "Tomasz",
        "Anneli",
        "Rui",
        "Berit",
        "Farid",
        "Lucia",
        "Pavel",
    ),
    what=(
        "reported on the new sorting line",
        "asked for more time to test the label printers",
        "showed the figures of the last four weeks",
        "proposed to merge the two parcel portals",
        "explained why the customs interface was slow",
        "will talk to the packaging supplier",
        "presented the plan for the winter peak",
        "warned about the age of the scanners",
        "compared three offers for the pallet tracking",
        "summed up the interviews with the drivers",
        "raised the question of weekend cover",
        "found that returns take a day too long",
    ),
    how=(
        "and nobody objected",
        "with help from the Bergen depot",
        "after last week's complaints",
        "although the budget is not yet approved",
        "because two depots had asked for it",
        "and will send the slides round",
        "before the next steering meeting",
        "to everyone's relief",
        "as a first draft",
        "and takes the open points along",
    ),
)

ADJECTIVES = (
    "amber", "brisk", "cobalt", "dusky", "early", "fallow", "gentle", "hollow", "ivory", "jolly",
    "keen", "lunar", "mellow", "nimble", "opal", "plain", "quiet", "russet", "silver", "tidal",
)  # fmt: skip
BIRDS = (
    "heron", "plover", "siskin", "dunlin", "merlin", "avocet", "bunting", "curlew", "fulmar",
    "godwit", "linnet", "osprey", "petrel", "redwing",
)  # fmt: skip
FIRST_NAMES = (
    "Ines", "Oskar", "Leila", "Mateus", "Sunniva", "Henrik", "Amara", "Dario", "Katrin", "Yusuf",
    "Elin", "Piotr", "Noor", "Stefan", "Vera",
)  # fmt: skip
FAMILY_NAMES = (
    "Okafor", "Lindqvist", "Moreau", "Castelli", "Haugen", "Brandt", "Sarkar", "Duarte", "Nowak",
    "Eriksen", "Valdez", "Keller", "Aydin", "Jansen", "Rossi",
)  # fmt: skip
SUPPLIERS = (
    "Brennholt Packaging", "Sundby Forklifts", "Talvik Labels", "Orsa Tyres", "Klint Paper",
    "Maarten Pallets", "Vestre Lubricants", "Quay Uniforms", "Ferrol Scales", "Ostra Batteries",
)  # fmt: skip
GOODS = (
    "pallet wrap", "thermal labels", "forklift hire", "winter tyres", "work gloves", "batteries",
    "scanner holsters", "steel racking", "cleaning service", "printer rollers",
)  # fmt: skip
SITES = ("oslo", "bergen", "gdansk", "lisbon", "trieste", "rotterdam")
TEAMS = ("customs", "depots", "linehaul", "parcels", "platform", "returns")
TOPICS = ("finance", "people", "safety", "security", "travel", "vehicles")
CAUSES = (
    "an expired certificate on the {} gateway",
    "a full disk on the {} label server",
    "a wrong time zone in the {} timetable",
    "a loose fibre at the {} depot",
    "a doubled message on the {} scan queue",
    "an index dropped from the {} parcel table",
)
RULES = (
    "Expense claims are handed in within {} days",
    "Lost badges are replaced within {} days",
    "Travel is approved at least {} days ahead",
    "Visitors' records are deleted after {} days",
    "Complaints are answered within {} days",
    "Vehicle checks are repeated every {} days",
)
