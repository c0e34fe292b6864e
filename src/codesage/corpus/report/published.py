"""The counts of the published corpus, which the card and its pictures show beside a corpus."""

# From section 2.1 of the paper (arXiv 2402.01935), for The Stack (dedup): files, functions, functions with a docstring,
# usable pairs.
PUBLISHED = {
    "python": (24_214_270, 67_264_716, 24_321_126, 18_146_327),
    "java": (42_429_211, 84_828_833, 17_613_636, 13_118_303),
    "javascript": (40_112_121, 35_469_803, 7_450_153, 4_796_101),
    "csharp": (21_702_269, 37_284_300, 9_325_665, 7_350_191),
    "c": (21_383_832, 16_253_435, 4_392_973, 2_958_699),
    "ruby": (7_205_146, 5_475_047, 1_217_764, 1_049_356),
    "go": (11_653_185, 31_067_259, 11_247_051, 9_739_861),
    "php": (34_851_418, 42_373_766, 22_191_329, 13_416_574),
    "typescript": (19_589_267, 16_612_988, 2_637_245, 1_863_436),
}
