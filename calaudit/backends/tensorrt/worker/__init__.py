"""What runs beside TensorRT and the GPU, on whatever interpreter or machine has them.

Sent there as source and loaded in memory (`boot`): nothing of calaudit is installed there. Needs
Python 3.8, numpy, TensorRT and, to run engines, pycuda; imports nothing of calaudit outside this
package. `line` talks to the host, `main` takes its requests, whose verbs are the functions of the
other modules: `hello`, `build`, `implicit`, `network`, `runner`.
"""
