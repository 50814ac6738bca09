"""A CLIP small enough to come with the program: it understands drawings, and only drawings.

With it everything can be run and judged without a download: `render` draws pictures whose captions
are known, the pack `models/packs/sketch` searches them, and recall is a number and no impression.
A model for photos takes its place by a line of configuration; until then whoever shows its answers
says "demo model".

The idea is CLIP's (Radford 2021): two towers, one space, a contrastive loss over a batch. What is
ours is the closed world. A grammar of shapes, relations, textures and landscapes (`vocabulary`,
`spec`) is drawn (`drawing` and the modules below it) and told (`captions`), so that pictures are
without end, and it is known which caption is true of which picture. That allows what web data does
not: batches made of families that differ in one attribute, true pairs beside the diagonal left out
of the loss, and a second loss that asks both towers for the attributes themselves.

    python -m models.sketch render --n 500 --seed 1 --out DIR    pictures and captions.jsonl
    python -m models.sketch train --minutes 40 --work DIR        needs the extra `sketch`
    python -m models.sketch export --work DIR                    writes the pack

Measured on rendered sets that training never saw, 500 pictures, through thumbnails and the pack;
three sets:

    the caption's own picture comes first    0.976 to 0.986 of captions
    … is among the first five                1.000
    … first, where a twin differs in a word  0.962 to 0.982
    families of four, first among all 500    0.908 (first among its four: 0.922)

The pack was trained on two cores shared with other work: 45 minutes from nothing (R@1 0.936 after
228,000 pictures), then 28 minutes more at a peak rate of 1e-3 (333,000 pictures). 160,768 pictures
were drawn in 81 s. Without the attribute loss, a first experiment stood at 0.81 after 14 minutes
instead of 0.90; a plain ViT without the convolutional stem was slower and worse.

Precision, on one core, milliseconds a picture and a caption; recall is the same for all four:

    float32          6.8 MB    1.38    0.47
    float16 weights  3.5 MB    1.38    0.47    cosine to float32 above 0.99999; the pack's
    float16          3.5 MB    1.41    0.51    above 0.9995
    int8 matrices    3.4 MB    1.03    0.28    above 0.9998

What it does not know: photographs, any noun outside the vocabulary, negation, numbers above four,
and words it cannot place, which it reads as noise ("zebra with red star" finds fewer red stars
than "red star"). What goes with what is its weak point: of two pictures that differ only by an
exchange (the colours of two shapes, the counts of two groups) it takes the wrong one in 13 to 40 of
a hundred cases.
"""
