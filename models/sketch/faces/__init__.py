"""Faces of the demo pack: drawn people, and networks that find them and tell them apart.

As the towers of `models.sketch` do, the two networks know a closed world, and so their answers can
be judged without a photo of anybody.  A person is a row of small integers (`person`); a portrait of
them has pose, expression, light and clothes of its own (`portrait`); a scene puts up to five of
them into a drawing, behind one another and behind things (`scene`), and knows box, landmarks and
owner of every face.

    python -m models.sketch faces --n 200 --seed 1 --out DIR         pictures and faces.jsonl
    python -m models.sketch train-faces --minutes 30 --work DIR      needs the extra `sketch`
    python -m models.sketch export-faces --work DIR                  adds them to the pack

The detector is read like YuNet, the recogniser like ArcFace: what finds drawn faces is the way in
which the program finds real ones, and only the graphs differ.

Measured with three sets of 150 pictures, about 330 faces each, of people and scenes that training
never saw:

    average precision at an overlap of one half       0.992 to 0.997
    area under the ROC, same person against others    0.987 to 0.997
    landmarks off by, in heights of the face          0.028 (median), 0.05 (one in ten)

At the pack's threshold 95 to 98 of 100 faces that it finds are there; what it takes for faces are
mostly discs in the colours of skin with spots on them, which are drawn to mislead it.

Trained on two cores shared with other work, one thread each: the detector 40 minutes (127,000
pictures of 12,000 scenes; 0.95 after seven minutes), the recogniser 33 (300,000 crops of 6,000
people).  Held-back people are told apart at 0.999 after 160 steps: to be asked for every column of
a person says at once what to look at.  What was hard is what comes between: crops aligned by found
landmarks, far faces, hidden ones; to train with such crops brought 0.995 to 0.998 on one set.

What they do not know: photographs; faces that are turned by more than about 30 degrees or lie on
their side; people who are too alike, because chance made no two of them so.
"""
