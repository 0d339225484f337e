"""Part masks made anywhere: read as label maps, whatever program drew them.

One mask a picture: `000123.png` (indexed or grey), `000123.npy`, or `000123.json` (labelme), named as the picture; or
one COCO JSON for all pictures. Files are data from outside: sizes are checked before anything is decoded, and nothing
in them is run.
"""

from linkjax.outside.masks.read import Masks as Masks
from linkjax.outside.masks.read import read as read
