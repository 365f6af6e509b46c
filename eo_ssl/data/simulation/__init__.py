"""The simulated data set: landscapes, two sensors, two label maps, written like SEN12MS and DFC2020."""
