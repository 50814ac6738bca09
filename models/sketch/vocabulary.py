"""The words a drawing is made of, and the other words people use for them.

Every list is closed and ordered: a `Spec` stores positions in these tuples counted from 1 (0 means
"has none"), the network's attribute heads count classes by their lengths. Adding a word at the end
keeps old specs readable; any change asks for a new training. British and American spellings are
synonyms of each other; the canonical word is the first of each tuple.
"""

from typing import Final

#: Canonical colour name → sRGB. Far enough apart that jitter never carries one into another.
COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (214, 32, 38),
    "orange": (249, 138, 22),
    "yellow": (247, 221, 44),
    "green": (36, 150, 62),
    "blue": (36, 76, 204),
    "purple": (121, 41, 166),
    "pink": (249, 150, 191),
    "brown": (119, 72, 36),
    "black": (19, 19, 21),
    "white": (249, 249, 249),
    "gray": (132, 134, 138),
}
COLOUR_NAMES: Final = tuple(COLOURS)

SHAPES: Final = (
    "circle",
    "square",
    "triangle",
    "star",
    "heart",
    "cross",
    "ring",
    "crescent",
    "diamond",
    "arrow",
)
#: Shapes with a body wide enough to hold another shape.
HOLLOWS: Final = ("circle", "square", "triangle", "heart", "diamond")

#: What stands in a landscape.
THINGS: Final = ("house", "car", "boat", "balloon", "tent", "umbrella", "flag", "person")
#: Colours of things: those that stand out before every landscape.
THING_COLOURS: Final = ("red", "orange", "yellow", "blue", "purple", "pink", "black", "white")

#: One numbering for everything that can be counted: shapes first, things after them.
NOUNS: Final = SHAPES + THINGS

RELATIONS: Final = ("left of", "above", "inside")
SIZES: Final = ("small", "large")
TEXTURES: Final = ("plain", "striped", "dotted", "checkered")
SCENES: Final = ("beach", "sunset", "forest", "mountains", "city", "snow", "field", "desert")

MOST = 4  #: the highest count of one kind of shape
MOST_THINGS = 3  #: … and of things in a landscape, which need room to be seen

NUMBERS: Final[dict[int, tuple[str, ...]]] = {
    1: ("one", "a", "a", "1", "a single", ""),
    2: ("two", "two", "2", "a pair of"),
    3: ("three", "three", "3"),
    4: ("four", "four", "4"),
}
SIZE_WORDS: Final = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge")}
COLOUR_WORDS: Final = {"purple": ("purple", "violet"), "gray": ("gray", "grey")}
TEXTURE_WORDS: Final = {
    "plain": ("plain", "plain", "solid"),
    "striped": ("striped", "striped", "stripy"),
    "dotted": ("dotted", "spotted", "polka dot"),
    "checkered": ("checkered", "checked", "chequered"),
}
#: Singular and plural of every noun; the canonical pair first.
NOUN_WORDS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "circle": (("circle", "circles"), ("disc", "discs"), ("disk", "disks")),
    "square": (("square", "squares"), ("box", "boxes")),
    "triangle": (("triangle", "triangles"),),
    "star": (("star", "stars"),),
    "heart": (("heart", "hearts"),),
    "cross": (("cross", "crosses"), ("plus sign", "plus signs")),
    "ring": (("ring", "rings"), ("hoop", "hoops"), ("donut", "donuts")),
    "crescent": (("crescent", "crescents"), ("crescent moon", "crescent moons")),
    "diamond": (("diamond", "diamonds"), ("rhombus", "rhombuses")),
    "arrow": (("arrow", "arrows"),),
    "house": (("house", "houses"), ("cottage", "cottages"), ("home", "homes")),
    "car": (("car", "cars"), ("automobile", "automobiles")),
    "boat": (("boat", "boats"), ("sailboat", "sailboats"), ("sailing boat", "sailing boats")),
    "balloon": (("balloon", "balloons"), ("hot air balloon", "hot air balloons")),
    "tent": (("tent", "tents"),),
    "umbrella": (("umbrella", "umbrellas"), ("parasol", "parasols")),
    "flag": (("flag", "flags"),),
    "person": (("person", "people"), ("human", "humans")),
}
#: Where a thing stands; the canonical phrase first.
PLACES: Final[dict[str, tuple[str, ...]]] = {
    "beach": ("on the beach", "at the beach", "by the sea", "on a sandy beach", "on the shore"),
    "sunset": ("at sunset", "in front of a sunset", "at dusk", "in the evening sun"),
    "forest": ("in a forest", "in the woods", "in the forest", "in front of trees"),
    "mountains": ("in the mountains", "in front of mountains", "below the mountains"),
    "city": ("in a city at night", "in the city at night", "in front of a night skyline"),
    "snow": ("in the snow", "in winter", "in a snowy landscape"),
    "field": ("in a field", "in a meadow", "on the grass", "in a green field"),
    "desert": ("in the desert", "on sand dunes", "in a desert"),
}
#: The landscape itself.
VIEWS: Final[dict[str, tuple[str, ...]]] = {
    "beach": ("beach", "a beach", "the beach", "a sandy beach", "the seaside", "sea and sand"),
    "sunset": ("sunset", "a sunset", "the setting sun", "a sunset over the sea", "dusk"),
    "forest": ("forest", "a forest", "the woods", "a forest of trees", "trees"),
    "mountains": (
        "mountains",
        "snowy mountains",
        "a mountain range",
        "the mountains",
        "a mountain",
    ),
    "city": ("a city at night", "city", "a night skyline", "city lights", "skyscrapers at night"),
    "snow": ("snow", "a snowy landscape", "a winter landscape", "falling snow", "winter"),
    "field": ("field", "a field", "a grassy field", "a green meadow", "a meadow"),
    "desert": ("desert", "a desert", "sand dunes", "the desert"),
}
#: Ways to say a relation from the first shape, and from the second.
RELATION_WORDS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "left of": (
        ("left of", "to the left of", "on the left of"),
        ("right of", "to the right of", "on the right of"),
    ),
    "above": (("above", "over", "on top of"), ("below", "under", "beneath")),
    "inside": (("inside", "in", "within"), ("containing", "around", "with inside")),
}
#: What people put before a description.
OPENINGS: Final = (
    "",
    "",
    "",
    "",
    "",
    "a picture of ",
    "an image of ",
    "a drawing of ",
    "a photo of ",
    "show me ",
    "picture with ",
)
