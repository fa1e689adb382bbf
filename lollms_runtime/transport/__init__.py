"""HTTP for codecs: the seam (`base`), its two implementations, what they share (`failures`, `limits`, `wire`).

Nothing here imports an HTTP library before the first request is opened.
"""
