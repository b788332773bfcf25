# SPDX-License-Identifier: Apache-2.0
"""Words for fingerprints, so that two people on the telephone can compare what they see.

Laws: exactly 256 words, 4 to 7 lower-case ASCII letters, alphabetical, each with its own first
four letters and at least two letters away from every other. The order is the meaning of a byte:
**no word may ever move, change or go**, or an old approval would read differently today.
"""

from __future__ import annotations

from typing import Final

__all__ = ["WORDS"]

WORDS: Final[tuple[str, ...]] = tuple(  # a text, so that a review sees lines of words
    """
    acorn album alert amber anchor angel ankle apple apron armor arrow artist aspen atlas attic
    autumn bacon badge bagel bamboo banana banjo barrel basket beach beaver berry blanket
    blossom border bottle branch brick bridge bronze bucket buffalo cabin cactus camel candle
    canoe canyon carpet castle cedar cello cherry chess circus clock cloud clover cobra coffee
    comet copper coral cotton coyote cradle crayon cricket crown crystal daisy dancer desert
    diamond dolphin donkey dragon eagle easel elbow engine fabric falcon farmer feather fiddle
    finger flame flute fossil freight frost galaxy garden garlic gecko giant glacier gorilla
    grape gravel guitar hammer harbor harvest hazel helmet heron hockey honey hotel hunter
    iceberg igloo indigo insect island ivory jacket jaguar jasmine jelly jewel jigsaw jungle
    kayak kettle kitten knight koala ladder lagoon lantern laurel lemon leopard lizard llama
    lobster locket lunar magnet mango maple marble market meadow melon mirror mosaic muffin
    museum napkin nectar needle nickel ninja noodle nugget oasis ocean octopus olive onion opera
    orange orbit orchid otter oxygen oyster paddle palace panda paper parrot pebble pelican
    pencil pepper piano pickle pigeon pilot pirate planet polar poppy potato prairie pumpkin
    puppet puzzle pyramid quartz quiver rabbit radar raven ribbon river robin sailor salmon
    sandal satin scarf shadow shelf silver siren sketch sleigh snail sparrow spider sponge
    stable statue storm sugar sunset symbol teapot temple tennis thunder tiger timber toast
    tomato tornado tractor trumpet tulip tunnel turtle unicorn velvet vessel village violin
    vortex voyage vulture waffle wagon walnut walrus whale wheat whisper willow window yacht
    yellow yogurt zebra zenith zigzag zipper
    """.split()  # noqa: SIM905
)
