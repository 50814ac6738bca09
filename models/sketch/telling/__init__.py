"""Captions of the demo pack: drawings told in the grammar's own sentences.

The grammar has one full sentence for each drawing (`models.sketch.captions.canonical`), and no two
drawings share it.  So a caption is right or wrong word for word, and how good the captioner is can
be judged without anybody's taste.  Its two graphs have BLIP's layout: what tells drawings is the
way in which the program tells photos, and only the graphs differ.

    python -m models.sketch train-captions --minutes 45 --work DIR --from FILE   needs `sketch`
    python -m models.sketch export-captions --work DIR               adds it to the pack

Measured with three sets of 500 drawings that training never saw, written as files, reduced to
thumbnails, and told by the pack:

    equal to the canonical caption       0.932 to 0.948
      landscapes                         0.989 to 1.000
      one kind of shape                  0.922 to 1.000
      two shapes in a relation           0.953 to 0.959
      two kinds of shapes                0.463 to 0.644

On one core a picture takes 7 ms alone and 3 ms in a batch of eight.

Trained on one thread of two cores shared with other work, 52 minutes, 215,000 pictures: 14 minutes
from the image tower (0.78), where most of the mistakes were nouns and counts; then 38 with the
places of the grid asked for what stands there, 0.84 after eight more minutes, 0.92 after 22.
64 pixels turned out to be enough, so search and captions read the same tensor.  bfloat16 was no
faster, and two threads were slower than one where the cores are shared.

What it does not know: photographs, which it tells as some drawing; and how many of each kind there
are where two kinds lie mixed, which is most of what is left wrong: it sees five shapes and says
"three orange rings and two blue arrows" as "two orange rings and three blue arrows".
"""
