"""``python -m benchmarks`` is the benchmark of ``benchmarks.vgg16``."""

from benchmarks.vgg16 import main

main()
