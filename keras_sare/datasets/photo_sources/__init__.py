"""Photos of any number, one after the other: from a folder, a list, a Parquet manifest or tar files, here or elsewhere.

`open_photos.open_photos(...)` opens one; `PhotoSource` says what each can do.
"""
