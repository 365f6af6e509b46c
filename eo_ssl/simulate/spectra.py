"""Materials and their spectra: reflectance at the ground at the 13 band centres of Sentinel-2."""

import numpy as np

# Order of the rows below.
CONIFER, BROADLEAF, GREEN, DRY, DARK, BRIGHT, SAND, ASPHALT, SHEET, TILE, CLEAR, TURBID = range(12)

# Typical values of public spectral libraries and of PROSAIL, moved within their spread until the classes of the
# simulated set had the level of the reference rows in `fidelity`. B10 never reaches the ground.
SPECTRA = np.array([
    [.010, .012, .025, .013, .040, .150, .190, .200, .215, .215, 0, .080, .030],  # conifers
    [.012, .015, .036, .016, .064, .250, .335, .345, .365, .370, 0, .145, .050],  # broadleaf trees
    [.022, .028, .064, .034, .100, .310, .408, .415, .440, .445, 0, .200, .090],  # green grass and crops
    [.055, .070, .100, .138, .175, .213, .233, .248, .268, .278, 0, .350, .245],  # straw and dead leaves
    [.040, .050, .070, .090, .105, .118, .128, .138, .148, .155, 0, .190, .150],  # dark, wet soil
    [.080, .100, .145, .202, .228, .252, .267, .282, .297, .307, 0, .420, .350],  # bright, dry soil
    [.150, .195, .250, .300, .320, .340, .355, .365, .385, .395, 0, .465, .400],  # sand and light rock
    [.060, .070, .080, .085, .092, .097, .100, .103, .106, .108, 0, .125, .118],  # asphalt
    [.190, .225, .250, .270, .280, .290, .295, .300, .305, .310, 0, .320, .290],  # metal sheet and concrete
    [.050, .060, .085, .135, .160, .175, .185, .195, .205, .210, 0, .255, .230],  # tiles
    [.020, .025, .024, .014, .020, .019, .019, .018, .017, .014, 0, .008, .004],  # clear water, some glint
    [.045, .058, .085, .075, .078, .062, .063, .054, .050, .030, 0, .027, .016],  # turbid water
], dtype=np.float32)  # fmt: skip
