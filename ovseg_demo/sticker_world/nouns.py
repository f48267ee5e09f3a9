"""The nouns of Sticker World: the things of its scenes, with their names.

The table is the single source of the class list. Its order is the order of the class indices that trained
weights rely on: append, never reorder.
"""

from __future__ import annotations

from dataclasses import dataclass

_TABLE = """
# animals
cat; kitty                         | 1F408 1F431             | 3 | gr | c
dog; puppy                         | 1F415 1F436 1F429       | 3 | gr | c
horse; pony                        | 1F40E 1F434             | 4 | g  | c
cow; cattle                        | 1F404 1F42E             | 4 | g  | c
pig; piglet                        | 1F416 1F437             | 3 | g  | c
sheep; lamb                        | 1F411 1F40F             | 3 | g  | c
rabbit; bunny                      | 1F407 1F430             | 2 | gr | c
mouse; rat                         | 1F401 1F400 1F42D       | 1 | gr | c
monkey; ape                        | 1F412 1F435             | 3 | g  | c
elephant                           | 1F418                   | 5 | g  | c
tiger                              | 1F405 1F42F             | 4 | g  |
bear; grizzly                      | 1F43B                   | 3 | g  |
fox                                | 1F98A                   | 3 | g  | c
frog; toad                         | 1F438                   | 2 | gw | c
camel; dromedary                   | 1F42A 1F42B             | 4 | g  | c
deer; stag                         | 1F98C                   | 4 | g  |
squirrel; chipmunk                 | 1F43F                   | 2 | g  |
dinosaur                           | 1F995 1F996             | 5 | g  | c
dragon                             | 1F409 1F432             | 4 | gs | c
bat                                | 1F987                   | 2 | s  | c
rooster; cockerel                  | 1F413                   | 2 | g  |
bird; songbird                     | 1F426                   | 2 | sg | c
duck; mallard                      | 1F986                   | 2 | wg |
swan                               | 1F9A2                   | 3 | w  | c
parrot                             | 1F99C                   | 2 | sg |
flamingo                           | 1F9A9                   | 3 | gw | c
fish                               | 1F41F 1F420             | 2 | w  | cr
whale                              | 1F40B 1F433             | 5 | w  | c
shark                              | 1F988                   | 4 | w  | c
crab                               | 1F980                   | 2 | gw | cr
turtle; tortoise                   | 1F422                   | 2 | gw | c
crocodile; alligator               | 1F40A                   | 4 | gw | c
snake; serpent                     | 1F40D                   | 2 | g  | c
bee; honeybee                      | 1F41D                   | 1 | sg | r
ladybug; ladybird                  | 1F41E                   | 1 | gt | cr
spider; tarantula                  | 1F577                   | 1 | gh | cr
lion                               | 1F981                   | 4 | g  | n
panda; panda bear                  | 1F43C                   | 3 | g  | n
giraffe                            | 1F992                   | 5 | g  | n
zebra                              | 1F993                   | 4 | g  | n
hedgehog                           | 1F994                   | 2 | g  | n
unicorn                            | 1F984                   | 3 | g  | n
penguin                            | 1F427                   | 3 | gw | n
owl                                | 1F989                   | 2 | sg | nc
peacock                            | 1F99A                   | 3 | g  | n
octopus                            | 1F419                   | 3 | w  | ncr
snail; slug                        | 1F40C                   | 1 | gt | nc
butterfly; moth                    | 1F98B                   | 1 | sg | ncr
seashell; shell                    | 1F41A                   | 1 | gt | ncr
# plants
tree; leafy tree                   | 1F333                   | 5 | g  | c
pine tree; fir tree                | 1F332                   | 5 | g  | c
christmas tree                     | 1F384                   | 5 | gr |
mushroom; toadstool                | 1F344                   | 2 | gt | c
tulip                              | 1F337                   | 2 | g  | c
rose                               | 1F339                   | 2 | gt | c
hibiscus                           | 1F33A                   | 2 | gt | cr
daisy; marguerite                  | 1F33C                   | 2 | gt | cr
potted plant; houseplant           | 1FAB4                   | 3 | rt |
clover; shamrock                   | 1F340 2618              | 1 | gt | cr
palm tree; palm                    | 1F334                   | 5 | g  | nc
cactus                             | 1F335                   | 3 | gt | nc
sunflower                          | 1F33B                   | 3 | g  | n
# food
apple                              | 1F34E 1F34F             | 1 | t  | cr
pear                               | 1F350                   | 1 | t  | cr
cherry; cherries                   | 1F352                   | 1 | t  | cr
strawberry                         | 1F353                   | 1 | t  | cr
banana                             | 1F34C                   | 1 | t  | cr
lemon; citrus fruit                | 1F34B                   | 1 | t  | cr
grapes; bunch of grapes            | 1F347                   | 2 | t  | crm
kiwi; kiwi fruit                   | 1F95D                   | 1 | t  | r
tomato                             | 1F345                   | 1 | t  | cr
corn; corncob                      | 1F33D                   | 2 | t  | crm
broccoli                           | 1F966                   | 1 | t  | crm
bell pepper; capsicum              | 1FAD1                   | 1 | t  | cr
chili pepper; chilli               | 1F336                   | 1 | t  | cr
pumpkin                            | 1F383                   | 2 | tg | c
bread; loaf of bread               | 1F35E                   | 2 | t  | m
croissant                          | 1F950                   | 1 | t  | r
egg                                | 1F95A                   | 1 | t  | cr
hamburger; burger                  | 1F354                   | 2 | t  |
french fries; chips                | 1F35F                   | 2 | t  | m
hot dog; sausage in a bun          | 1F32D                   | 2 | t  | r
taco                               | 1F32E                   | 2 | t  |
sushi                              | 1F363                   | 1 | t  | m
cookie; biscuit                    | 1F36A                   | 1 | t  | r
cake; birthday cake                | 1F370 1F382             | 2 | t  |
cupcake; muffin                    | 1F9C1                   | 1 | t  | c
ice cream; ice cream cone          | 1F366                   | 2 | t  | cm
lollipop                           | 1F36D                   | 1 | t  | r
coffee; cup of coffee              | 2615                    | 1 | t  | cm
wine; glass of wine                | 1F377                   | 2 | t  | m
beer; mug of beer                  | 1F37A                   | 2 | t  | m
watermelon                         | 1F349                   | 2 | t  | nr
pineapple                          | 1F34D                   | 2 | t  | nr
avocado                            | 1F951                   | 1 | t  | nr
eggplant; aubergine                | 1F346                   | 2 | t  | ncr
carrot                             | 1F955                   | 1 | t  | ncr
pretzel                            | 1F968                   | 1 | t  | ncr
cheese; piece of cheese            | 1F9C0                   | 2 | t  | ncm
pizza; slice of pizza              | 1F355                   | 2 | t  | nrm
doughnut; donut                    | 1F369                   | 1 | t  | nr
popcorn; box of popcorn            | 1F37F                   | 2 | t  | nm
# vehicles
car; automobile                    | 1F697 1F698 1F699       | 4 | g  | c
taxi; cab                          | 1F695 1F696             | 4 | g  |
bus; coach                         | 1F68C 1F68D 1F68E       | 4 | g  | c
truck; lorry                       | 1F69A 1F69B             | 4 | g  | c
ambulance                          | 1F691                   | 4 | g  |
fire truck; fire engine            | 1F692                   | 4 | g  | c
race car; racing car               | 1F3CE                   | 4 | g  | c
train; railway train               | 1F686 1F684 1F685       | 5 | g  | c
bicycle; bike                      | 1F6B2                   | 3 | g  | c
motorcycle; motorbike              | 1F3CD                   | 3 | g  | c
scooter; moped                     | 1F6F5                   | 3 | g  | c
ship; cruise ship                  | 1F6A2 1F6F3             | 5 | w  | c
airplane; plane                    | 1F6E9 2708              | 4 | s  | cr
flying saucer; UFO                 | 1F6F8                   | 3 | s  | c
skateboard                         | 1F6F9                   | 2 | gr | c
shopping cart; shopping trolley    | 1F6D2                   | 3 | g  | c
tractor                            | 1F69C                   | 4 | g  | nc
helicopter                         | 1F681                   | 4 | s  | nc
rocket; spaceship                  | 1F680                   | 4 | sg | ncr
sailboat; yacht                    | 26F5                    | 4 | w  | nc
canoe                              | 1F6F6                   | 3 | w  | nc
# buildings and places
house; home                        | 1F3E0 1F3E1             | 5 | g  | c
church; chapel                     | 26EA                    | 5 | g  |
school                             | 1F3EB                   | 5 | g  | c
factory                            | 1F3ED                   | 5 | g  | c
tent                               | 26FA                    | 4 | g  | c
fountain                           | 26F2                    | 4 | g  |
traffic light; stoplight           | 1F6A6                   | 3 | g  |
slide; playground slide            | 1F6DD                   | 4 | g  | c
castle; fortress                   | 1F3F0 1F3EF             | 5 | g  | nc
mosque                             | 1F54C                   | 5 | g  | n
ferris wheel                       | 1F3A1                   | 5 | g  | n
volcano                            | 1F30B                   | 5 | g  | n
# sky and seasons
moon; crescent moon                | 1F319                   | 2 | s  | c
star                               | 2B50 1F31F              | 2 | sh | cr
rainbow                            | 1F308                   | 5 | s  |
balloon; party balloon             | 1F388                   | 2 | sr | c
kite                               | 1FA81                   | 2 | s  | nr
snowman                            | 26C4 2603               | 3 | g  | n
# clothes and bags
t-shirt; tee shirt                 | 1F455 1F45A             | 3 | hrt | cr
jeans; trousers                    | 1F456                   | 3 | hrt | crm
dress; gown                        | 1F457                   | 3 | hr | cr
coat; jacket                       | 1F9E5                   | 3 | hr | c
scarf                              | 1F9E3                   | 2 | hrt | cr
gloves; pair of gloves             | 1F9E4                   | 2 | hrt | crm
socks; pair of socks               | 1F9E6                   | 2 | hrt | crm
shoe; sneaker                      | 1F45E 1F45F             | 2 | rgt | cr
high heel; high-heeled shoe        | 1F460                   | 2 | rt | cr
sun hat; straw hat                 | 1F452                   | 2 | hrt | c
cap; baseball cap                  | 1F9E2                   | 2 | hrt | cr
glasses; sunglasses                | 1F453 1F576             | 1 | t  | crm
handbag; leather bag               | 1F45C                   | 2 | rt | c
backpack; rucksack                 | 1F392                   | 2 | rg | c
suitcase; luggage                  | 1F9F3                   | 3 | rg | c
wristwatch; watch                  | 231A                    | 1 | t  | cr
swimsuit; bathing suit             | 1FA71                   | 2 | hr | ncr
crown; tiara                       | 1F451                   | 2 | t  | nc
umbrella; parasol                  | 2602 2614               | 3 | gr | nc
# tools
hammer                             | 1F528                   | 2 | rt | cr
wrench; spanner                    | 1F527                   | 2 | rt | cr
saw; handsaw                       | 1FA9A                   | 2 | rt | cr
axe; hatchet                       | 1FA93                   | 2 | grt | cr
knife; kitchen knife               | 1F52A                   | 2 | t  | cr
spoon                              | 1F944                   | 2 | t  | cr
ladder; stepladder                 | 1FA9C                   | 4 | rg | cr
bucket; pail                       | 1FAA3                   | 2 | rg | c
broom                              | 1F9F9                   | 3 | rg | cr
key                                | 1F511 1F5DD             | 1 | th | cr
padlock; lock                      | 1F512 1F513             | 1 | t  | c
candle                             | 1F56F                   | 2 | t  | c
pencil                             | 270F                    | 1 | t  | cr
magnifying glass; magnifier        | 1F50D 1F50E             | 2 | t  | cr
screwdriver                        | 1FA9B                   | 2 | rt | ncr
scissors; pair of scissors         | 2702                    | 2 | t  | ncrm
magnet                             | 1F9F2                   | 1 | t  | ncr
anchor                             | 2693                    | 3 | gh | ncr
light bulb; bulb                   | 1F4A1                   | 1 | t  | ncr
microscope                         | 1F52C                   | 3 | t  | nc
# furniture and household
chair; wooden chair                | 1FA91                   | 4 | r  | c
sofa; couch                        | 1F6CB                   | 5 | r  | c
bed                                | 1F6CF                   | 5 | r  | c
door                               | 1F6AA                   | 5 | r  | c
window                             | 1FA9F                   | 4 | h  | c
picture; picture frame             | 1F5BC                   | 3 | h  |
bathtub; bath                      | 1F6C1                   | 5 | r  | c
clock; mantel clock                | 1F570                   | 2 | t  | c
television; TV                     | 1F4FA                   | 3 | rt | c
camera; photo camera               | 1F4F7 1F4F8             | 2 | t  | c
phone; telephone                   | 260E                    | 2 | t  | c
laptop; notebook computer          | 1F4BB                   | 2 | t  | c
book                               | 1F4D5 1F4D7 1F4D8 1F4D9 | 2 | t  | cr
envelope; letter                   | 2709                    | 1 | t  | cr
mailbox; letterbox                 | 1F4EB 1F4EA             | 3 | g  | c
box; cardboard box                 | 1F4E6                   | 3 | rt | c
vase; amphora                      | 1F3FA                   | 3 | rt | c
teapot                             | 1FAD6                   | 2 | t  | c
bell                               | 1F514                   | 2 | th | c
gift; present                      | 1F381                   | 2 | rt | c
teddy bear; stuffed bear           | 1F9F8                   | 3 | rt | c
toilet                             | 1F6BD                   | 4 | r  | nc
radio                              | 1F4FB                   | 3 | t  | nc
basket; wicker basket              | 1F9FA                   | 2 | rt | nc
hourglass; sandglass               | 231B 23F3               | 2 | t  | nc
fire extinguisher                  | 1F9EF                   | 3 | r  | nc
# music, sport and play
violin; fiddle                     | 1F3BB                   | 3 | rt | cr
trumpet; bugle                     | 1F3BA                   | 3 | rt | cr
drum                               | 1F941                   | 3 | r  | c
microphone                         | 1F3A4                   | 2 | t  | cr
soccer ball; football              | 26BD                    | 2 | gr | cr
basketball                         | 1F3C0                   | 2 | gr | cr
tennis racket                      | 1F3BE                   | 3 | rg | cr
dice; die                          | 1F3B2                   | 1 | t  | cr
dartboard; target                  | 1F3AF                   | 3 | h  | r
game controller; gamepad           | 1F3AE                   | 2 | t  | c
trophy; winner's cup               | 1F3C6                   | 2 | t  | c
guitar; electric guitar            | 1F3B8                   | 3 | rh | ncr
saxophone                          | 1F3B7                   | 3 | r  | ncr
headphones; headset                | 1F3A7                   | 2 | th | ncrm
accordion                          | 1FA97                   | 3 | rt | nc
yo-yo                              | 1FA80                   | 1 | t  | ncr
diamond; gemstone                  | 1F48E                   | 1 | t  | nc
globe; world globe                 | 1F30D 1F30E 1F30F       | 2 | t  | nr
"""


@dataclass(frozen=True)
class Noun:
    """One concrete thing of Sticker World.

    Attributes:
        name: the class name, unique among all names and synonyms.
        synonyms: what else captions may call it.
        category: the heading it stands under, such as "animals".
        drawings: code points of its images in the emoji font.
        size: from 1 (a cherry) to 5 (a house); how tall it is beside the others in one scene.
        places: where it belongs: some of "ground", "sky", "water", "table", "room", "wall".
        novel: held back from all segmentation training; see :mod:`ovseg_demo.sticker_world.classes`.
        colourable: whether "a blue …" makes sense for it.
        turnable: whether it may lie at any angle.
        countable: whether it takes an article and a number ("a cat", but "corn" and "scissors").
    """

    name: str
    synonyms: tuple[str, ...]
    category: str
    drawings: tuple[int, ...]
    size: int
    places: frozenset[str]
    novel: bool
    colourable: bool
    turnable: bool
    countable: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The class name and its synonyms."""
        return (self.name, *self.synonyms)


_PLACES = {"g": "ground", "s": "sky", "w": "water", "t": "table", "r": "room", "h": "wall"}


def _parse_table(table: str) -> tuple[Noun, ...]:
    nouns = []
    category = ""
    for line in table.strip().splitlines():
        if line.startswith("#"):
            category = line[1:].strip()
        else:
            nouns.append(_parse_line(line, category))
    return tuple(nouns)


def _parse_line(line: str, category: str) -> Noun:
    names, drawings, size, places, flags = (field.strip() for field in line.split("|"))
    name, *synonyms = (part.strip() for part in names.split(";"))
    return Noun(
        name=name,
        synonyms=tuple(synonyms),
        category=category,
        drawings=tuple(int(code, 16) for code in drawings.split()),
        size=int(size),
        places=frozenset(_PLACES[letter] for letter in places),
        novel="n" in flags,
        colourable="c" in flags,
        turnable="r" in flags,
        countable="m" not in flags,
    )


NOUNS: tuple[Noun, ...] = _parse_table(_TABLE)
"""All nouns in class-index order."""
