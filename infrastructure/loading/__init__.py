"""Loading files through the HTTP API: open, read, map, send.

The way of a row: `source` opens a file of any supported kind, `readers` turns it into events one by one (CSV by
a `mapping`), `loader` gathers them into batches and keeps a few in flight, `sender` posts each until the API
has answered, `report` adds it all up. Nothing in between holds more than those few batches, and event ids
follow from the file's name and the row number, so loading again adds nothing that is there already.
"""
