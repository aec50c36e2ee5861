"""TensorRT: implicit quantization with calibrators (≤ 10), explicit Q/DQ (weakly typed before 10).

TensorRT itself runs in a process of its own, a worker, on whatever interpreter or machine has it.
Here is the host's side: `kind` (keys, what ``doctor`` tries) and `backend`; what is asked of a
worker (`build`, `implicit`, `engine`) and what is made of its texts (`precision`); and how it is
reached: `location` (where it is), `process` (started, ended), `link` (requests, what goes wrong),
`session` (another one after it has ended), `shared` (memory of both). `worker` is what is sent
there: nothing else here ever imports TensorRT or pycuda.
"""
