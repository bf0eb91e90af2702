"""libkappa as ctypes sees it: structs and functions of include/kappa/reader.h. For people: kappa.py."""

import ctypes
import os
from ctypes import POINTER, Structure, Union, byref, c_bool, c_char, c_char_p, c_double, c_int, c_int64, c_size_t, \
    c_uint32, c_uint64, c_void_p

NEWEST = -(1 << 63)

(NULL, BOOLEAN, SMALLINT, INTEGER, BIGINT, NUMERIC, REAL, DOUBLE, TEXT, BYTEA, UUID, JSONB, DATE, TIMESTAMP,
 TIMESTAMPTZ, INTERVAL) = range(16)
ARRAY = 32
WHOLE = (SMALLINT, INTEGER, BIGINT)
BYTES = (TEXT, BYTEA, UUID, JSONB)


class Error(Structure):
    _fields_ = [("code", c_int), ("text", c_char * 1536), ("hint", c_char * 512)]


class Text(Structure):
    _fields_ = [("bytes", c_void_p), ("len", c_uint32)]


class Numeric(Structure):
    _fields_ = [("low", c_uint64), ("high", c_int64), ("scale", c_uint32), ("zero", c_uint32)]


class Payload(Union):
    _fields_ = [("i", c_int64), ("d", c_double), ("s", Text), ("n", Numeric)]


class Value(Structure):
    _fields_ = [("type", c_int), ("is_null", c_bool), ("is", Payload)]


class Column(Structure):
    _fields_ = [("name", c_char_p), ("type", c_int)]


class Shape(Structure):
    _fields_ = [("name", c_char_p), ("kind", c_int), ("column_count", c_uint32), ("key_count", c_uint32)]


class Position(Structure):
    _fields_ = [("topic", c_char_p), ("partition", c_uint32), ("next", c_int64)]


class Stamp(Structure):
    _fields_ = [("processor", c_char_p), ("version", c_uint32), ("epoch", c_uint64), ("cut", POINTER(Position)),
                ("cut_count", c_uint32)]


class Entry(Structure):
    _fields_ = [("table", c_char_p), ("processor", c_char_p), ("state", c_char_p), ("version", c_uint32)]


class Range(Structure):
    _fields_ = [("keys", POINTER(Value)), ("key_count", c_uint32), ("from_", POINTER(Value)),
                ("below", POINTER(Value)), ("prefix", POINTER(Text)), ("windows", c_bool),
                ("window_end_least", c_int64), ("window_end_most", c_int64)]


ENTRY_FN = ctypes.CFUNCTYPE(c_bool, c_void_p, POINTER(Entry))

assert ctypes.sizeof(Value) == 32 and ctypes.sizeof(Payload) == 24  # what kappa.py takes rows apart by

_FUNCTIONS = {
    "kappa_library_version": (c_char_p, []),
    "kappa_code_word": (c_char_p, [c_int]),
    "kappa_reader_open": (c_int, [c_char_p, POINTER(c_void_p), POINTER(Error)]),
    "kappa_reader_close": (c_int, [c_void_p, POINTER(Error)]),
    "kappa_reader_tables": (c_int, [c_void_p, ENTRY_FN, c_void_p, POINTER(Error)]),
    "kappa_scope_begin": (c_int, [c_void_p, c_char_p, POINTER(c_void_p), POINTER(Error)]),
    "kappa_scope_begin_for": (c_int, [c_void_p, c_char_p, c_char_p, POINTER(c_void_p), POINTER(Error)]),
    "kappa_scope_end": (None, [c_void_p]),
    "kappa_scope_stamp": (c_int, [c_void_p, POINTER(Stamp), POINTER(Error)]),
    "kappa_scope_table": (c_int, [c_void_p, c_char_p, POINTER(c_void_p), POINTER(Error)]),
    "kappa_table_describe": (c_int, [c_void_p, POINTER(Shape), POINTER(Error)]),
    "kappa_table_column": (c_int, [c_void_p, c_uint32, POINTER(Column), POINTER(Error)]),
    "kappa_table_key": (c_int, [c_void_p, c_uint32, POINTER(Column), POINTER(Error)]),
    "kappa_get": (c_int, [c_void_p, POINTER(Value), c_uint32, c_int64, POINTER(c_void_p), POINTER(Error)]),
    "kappa_get_many": (c_int, [c_void_p, POINTER(Value), c_uint32, c_uint32, c_int64, POINTER(c_void_p),
                               POINTER(Error)]),
    "kappa_scan": (c_int, [c_void_p, POINTER(Range), POINTER(c_void_p), POINTER(Error)]),
    "kappa_rows_next": (c_int, [c_void_p, POINTER(c_void_p), POINTER(Error)]),
    "kappa_rows_close": (None, [c_void_p]),
    "kappa_value_text": (c_int64, [c_void_p, c_char_p, c_size_t]),
    "kappa_value_json": (c_int64, [c_void_p, c_char_p, c_size_t]),
}


def load():
    """The library: KAPPA_LIB names the file, else libkappa.so.0 where the system's linker finds it."""
    lib = ctypes.CDLL(os.environ.get("KAPPA_LIB") or "libkappa.so.0")
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    return lib


def printed(function, address):
    """What kappa_value_text or kappa_value_json writes for the value at an address."""
    buffer = ctypes.create_string_buffer(256)
    length = function(address, buffer, 256)
    if length >= 256:
        buffer = ctypes.create_string_buffer(length + 1)
        length = function(address, buffer, length + 1)
    return buffer.raw[:length].decode("utf-8", "replace")


__all__ = [name for name in dir() if not name.startswith("_")] + ["byref"]
