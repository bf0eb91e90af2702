"""Rows of Kappa's tables, read from a data directory without a server.

    import kappa

    with kappa.open("/var/lib/kappa") as data:
        data.get("user_features", "u42")                    # {'user_id': 'u42', ...} or None
        with data.read("user_features") as read:            # one snapshot of one version
            print(read.version, read.epoch, read.cut)
            features = read.table()
            features.get_many(["u1", "u2"])                 # at one cut
            for row in features.scan(prefix="u1"):          # dicts
                ...
            frame = pandas.DataFrame(features.columns())    # dict of lists

Names are tables, or "table@3" for version 3. A key is one value or a tuple; values are of the key's type or its text.

Python types: bool, int, float, str, bytes, decimal.Decimal (numeric), uuid.UUID, datetime.date, datetime.datetime
(timestamp; with tzinfo UTC: timestamptz), datetime.timedelta (interval), jsonb as json.loads gives it, arrays as lists of
JSON values, None. Times beyond what datetime holds come as text.

Threads share an open directory; what `read` gives is used by one thread at a time. After a fork the child opens its own.
What is still open when the interpreter exits is left to the end of the process, since daemon threads may be reading.
"""

import ctypes
import datetime
import decimal
import json
import operator
import os
import struct
import uuid
import weakref

import kappa_abi as abi

_EPOCH = datetime.datetime(1970, 1, 1)
_EPOCH_UTC = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_ROWS_AT_ONCE = 4096
_KINDS = ("rows", "groups", "windows")
_lib = None


class KappaError(Exception):
    """code: 'not_found', 'invalid', 'closed'...; hint: what to do, may be empty."""

    def __init__(self, code, text, hint=""):
        super().__init__(text + (f" ({hint})" if hint else ""))
        self.code = code
        self.text = text
        self.hint = hint


def _library():
    global _lib
    if _lib is None:
        try:
            _lib = abi.load()
        except OSError as error:
            raise KappaError("not_found", f"libkappa cannot be loaded: {error}",
                             "install libkappa0, or name the file: KAPPA_LIB=/path/libkappa.so.0") from error
    return _lib


def _call(function, *arguments):
    """The result, when it is no error."""
    error = abi.Error()
    result = function(*arguments, ctypes.byref(error))
    if result < 0:
        raise KappaError(_lib.kappa_code_word(result).decode(), error.text.decode("utf-8", "replace"),
                         error.hint.decode("utf-8", "replace"))
    return result


def _c_text(data):
    """Bytes that C reads whole."""
    if b"\0" in data:
        raise ValueError(f"{data!r} has a NUL in it")
    return data


def _finalize(owner, function, *arguments):
    """Calls it when the owner is garbage, but not at the interpreter's exit: daemon threads still read then."""
    finalizer = weakref.finalize(owner, function, *arguments)
    finalizer.atexit = False
    return finalizer


def open(data_dir):  # noqa: A001: as kappa.open
    """The data directory of a `kappa up`."""
    return Reader(data_dir)


# ---- values

def _microseconds(value, epoch):
    return (value - epoch) // datetime.timedelta(microseconds=1)


def _time_us(value):
    """us since 1970 of a datetime (without tzinfo: UTC), or a whole number of us."""
    if isinstance(value, datetime.datetime):
        return _microseconds(value, _EPOCH if value.tzinfo is None else _EPOCH_UTC)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(f"a time is a datetime or microseconds since 1970, not {value!r}")


def _bytes_into(out, kind, data, keep):
    buffer = ctypes.create_string_buffer(data, len(data) + 1)
    keep.append(buffer)
    getattr(out, "is").s.bytes = ctypes.addressof(buffer)
    getattr(out, "is").s.len = len(data)
    out.type = kind


def _fill(out, value, keep):
    """A Python value as a key value; what it borrows goes into keep."""
    payload = getattr(out, "is")
    out.is_null = value is None
    if value is None:
        out.type = abi.NULL
    elif isinstance(value, bool):
        out.type, payload.i = abi.BOOLEAN, int(value)
    elif isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        out.type, payload.i = abi.BIGINT, value
    elif isinstance(value, (bytes, bytearray)):
        _bytes_into(out, abi.BYTEA, bytes(value), keep)
    elif isinstance(value, float):
        out.type, payload.d = abi.DOUBLE, value
    elif isinstance(value, datetime.timedelta):
        out.type, payload.i = abi.INTERVAL, value // datetime.timedelta(microseconds=1)
    elif isinstance(value, datetime.datetime):
        out.type = abi.TIMESTAMP if value.tzinfo is None else abi.TIMESTAMPTZ
        payload.i = _time_us(value)
    elif isinstance(value, (str, int, decimal.Decimal, uuid.UUID, datetime.date)):
        # The library reads text as a value of the key's type.
        _bytes_into(out, abi.TEXT, format(value, "f").encode() if isinstance(value, decimal.Decimal)
                    else str(value).encode(), keep)
    else:
        raise TypeError(f"{type(value).__name__} is no key value")


def _plain(part):
    """Whole numbers of other libraries, as a frame of pandas gives them, are whole numbers."""
    return part if isinstance(part, int) or not hasattr(part, "__index__") else operator.index(part)


def _parts(key):
    return tuple(map(_plain, key)) if isinstance(key, (tuple, list)) else (_plain(key),)


def _first_text(parts):
    """What a canary chooses keys by, or None: a key that has no such text is read from the version that serves."""
    first = parts[0] if parts else None
    if isinstance(first, datetime.datetime):
        return first.isoformat()
    if isinstance(first, bool):
        return str(first).lower()
    if isinstance(first, (str, int, decimal.Decimal, uuid.UUID, datetime.date)):
        text = format(first, "f") if isinstance(first, decimal.Decimal) else str(first)
        return None if "\0" in text else text
    return None


def _values(parts, types, keep):
    """The values of a key. Whole numbers for columns that are not whole numbers travel as text."""
    out = (abi.Value * max(1, len(parts)))()
    for i, part in enumerate(parts):
        other = i < len(types) and types[i] not in abi.WHOLE
        whole = isinstance(part, int) and not isinstance(part, bool)
        _fill(out[i], str(part) if whole and other else part, keep)
    return out


def _date(days):
    try:
        return datetime.date.fromordinal(719163 + days)
    except (ValueError, OverflowError):
        return None


def _moment(epoch):
    def convert(us):
        try:
            return epoch + datetime.timedelta(microseconds=us)
        except OverflowError:
            return None
    return convert


def _decimal(low, high, scale):
    return decimal.Decimal("%dE-%d" % ((high << 64) + low, scale))


class _Column:
    """How a column's 32 bytes become a Python value: a struct format and a function of what it unpacks."""

    def __init__(self, name, kind):
        self.name = name
        self.kind = kind
        self.fields = 1
        self.format = "q16x"
        self.convert = None  # as it is
        if kind & abi.ARRAY or kind in abi.BYTES:
            self.fields, self.format = 2, "QI12x"
        elif kind == abi.NUMERIC:
            self.fields, self.format, self.convert = 3, "QqI4x", _decimal
        elif kind in (abi.REAL, abi.DOUBLE):
            self.format = "d16x"
        else:
            self.convert = {abi.BOOLEAN: bool, abi.DATE: _date, abi.TIMESTAMP: _moment(_EPOCH),
                            abi.TIMESTAMPTZ: _moment(_EPOCH_UTC),
                            abi.INTERVAL: lambda us: datetime.timedelta(microseconds=us)}.get(kind)

    def value(self, unpacked, at, address):
        """The value; unpacked[at]: is_null, then the fields. address: of the value in memory."""
        if unpacked[at]:
            return None
        if self.kind == abi.TEXT:
            return ctypes.string_at(unpacked[at + 1], unpacked[at + 2]).decode("utf-8", "replace") if unpacked[at + 2] else ""
        if self.kind & abi.ARRAY:
            return json.loads(abi.printed(_lib.kappa_value_json, address))
        if self.kind in abi.BYTES:
            data = ctypes.string_at(unpacked[at + 1], unpacked[at + 2]) if unpacked[at + 2] else b""
            return _from_bytes(self.kind, data)
        if self.convert is None:
            return unpacked[at + 1]
        made = self.convert(*unpacked[at + 1:at + 1 + self.fields])
        return abi.printed(_lib.kappa_value_text, address) if made is None else made

    @property
    def borrows(self):
        """Has a row only the place of the value, in memory that goes with the next row?"""
        return bool(self.kind & abi.ARRAY) or self.kind in abi.BYTES

    def values(self, rows, at):
        """The values of unpacked rows, of a column that does not borrow."""
        convert = self.convert
        if convert is None:
            return [None if row[at] else row[at + 1] for row in rows]
        if self.fields == 3:
            return [None if row[at] else convert(row[at + 1], row[at + 2], row[at + 3]) for row in rows]
        made = [None if row[at] else convert(row[at + 1]) for row in rows]
        if None in made:
            made = [self._beyond(row[at + 1]) if value is None and not row[at] else value
                    for value, row in zip(made, rows)]
        return made

    def _beyond(self, number):
        """A time that Python's do not reach, as text."""
        value = abi.Value(type=self.kind)
        getattr(value, "is").i = number
        return abi.printed(_lib.kappa_value_text, ctypes.addressof(value))


def _from_bytes(kind, data):
    if kind == abi.JSONB:
        return json.loads(data)
    return uuid.UUID(bytes=data) if kind == abi.UUID and len(data) == 16 else data


class _Layout:
    """Rows of a table: taken apart by one struct."""

    def __init__(self, columns):
        self.columns = columns
        self.names = [column.name for column in columns]
        self.unpack = struct.Struct("<" + "".join("4x?3x" + column.format for column in columns))
        self.steps = []
        at = 0
        for i, column in enumerate(columns):
            self.steps.append((column.value, at, 32 * i))
            at += 1 + column.fields

    def row(self, address):
        unpacked = self.unpack.unpack(ctypes.string_at(address, self.unpack.size))
        return [value(unpacked, at, address + offset) for value, at, offset in self.steps]

    def lists(self, addresses):
        """A list of values for each column; addresses: of rows, each there until the next one is taken."""
        lists = [[] for _ in self.columns]
        early, late = [], []
        for column, (value, at, offset), into in zip(self.columns, self.steps, lists):
            if column.borrows:
                early.append((value, at, offset, into.append))
            else:
                late.append((column.values, at, into.extend))
        rows = []

        def convert():
            for values, at, extend in late:
                extend(values(rows, at))
            rows.clear()
        seen = memory = None
        unpack, keep = self.unpack.unpack_from, rows.append
        for address in addresses:
            if address != seen:  # mostly it is the same
                seen, memory = address, (ctypes.c_char * self.unpack.size).from_address(address)
            unpacked = unpack(memory)
            keep(unpacked)
            for value, at, offset, append in early:
                append(value(unpacked, at, address + offset))
            if len(rows) == _ROWS_AT_ONCE:
                convert()
        convert()
        return lists


# ---- reading

class Reader:
    """An open data directory; shared by threads."""

    def __init__(self, data_dir):
        lib = _library()
        handle = ctypes.c_void_p()
        _call(lib.kappa_reader_open, _c_text(os.fsencode(data_dir)), ctypes.byref(handle))
        self._handle = handle
        self._finalizer = _finalize(self, lib.kappa_reader_close, handle, None)

    def close(self):
        """Refused while a `read` is open."""
        if self._finalizer.alive:
            _call(_lib.kappa_reader_close, self._handle)
            self._finalizer.detach()
            self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def tables(self):
        """[{'table', 'processor', 'version', 'state'}] of all versions."""
        found = []

        def add(_, entry):
            entry = entry.contents
            found.append({"table": entry.table.decode(), "processor": entry.processor.decode(),
                          "version": entry.version, "state": entry.state.decode()})
            return True
        _call(_lib.kappa_reader_tables, self._handle, abi.ENTRY_FN(add), None)
        return found

    def read(self, name, key=None):
        """One snapshot of the version that serves a table, or of version N: "table@N", "table@candidate". With a key
        (the first value of the table's key, as text) that is in the share of a canary: of the candidate."""
        return Scope(self, name, key)

    def get(self, name, key=(), at=None):
        """The row as a dict, or None; of a key in the share of a canary, the candidate's."""
        with self.read(name, _first_text(_parts(key))) as read:
            return read.table().get(key, at)

    def get_many(self, name, keys, at=None):
        with self.read(name) as read:
            return read.table().get_many(keys, at)

    def columns(self, name, **bounds):
        """All rows, or those of a range (Table.scan), as a dict of lists."""
        with self.read(name) as read:
            return read.table().columns(**bounds)


class Scope:
    """All tables of one version at one cut. End it soon (`with`): it holds back space of the version's files."""

    def __init__(self, reader, name, key=None):
        handle = ctypes.c_void_p()
        if key is None:
            _call(_lib.kappa_scope_begin, reader._handle, _c_text(name.encode()), ctypes.byref(handle))
        else:
            _call(_lib.kappa_scope_begin_for, reader._handle, _c_text(name.encode()), _c_text(key.encode()), ctypes.byref(handle))
        self._reader = reader  # lives longer than the scope
        self._handle = handle
        self._finalizer = _finalize(self, _lib.kappa_scope_end, handle)
        stamp = abi.Stamp()
        _call(_lib.kappa_scope_stamp, handle, ctypes.byref(stamp))
        self.processor = stamp.processor.decode()
        self.version = stamp.version
        self.epoch = stamp.epoch
        self.cut = {}  # {topic: [next offset per partition]}
        for i in range(stamp.cut_count):
            position = stamp.cut[i]
            offsets = self.cut.setdefault(position.topic.decode(), [])
            if position.partition < len(offsets):  # two inputs read one topic: what both have applied
                offsets[position.partition] = min(offsets[position.partition], position.next)
            else:
                offsets.append(position.next)

    def end(self):
        self._finalizer()
        self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def _alive(self):
        if self._handle is None:
            raise KappaError("closed", "the snapshot has ended: read again")

    def table(self, name=None):
        """A table of this version; without a name the one that was read."""
        self._alive()
        return Table(self, name)


class Table:
    """Rows of a table as of a snapshot. name, kind ('rows', 'groups', 'windows'), column_names, key_names."""

    def __init__(self, scope, name):
        handle = ctypes.c_void_p()
        shape = abi.Shape()
        _call(_lib.kappa_scope_table, scope._handle, _c_text(name.encode()) if name is not None else None,
              ctypes.byref(handle))
        _call(_lib.kappa_table_describe, handle, ctypes.byref(shape))
        self._scope = scope
        self._handle = handle
        self.name = shape.name.decode()
        self.kind = _KINDS[shape.kind]
        columns = self._described(_lib.kappa_table_column, shape.column_count)
        keys = self._described(_lib.kappa_table_key, shape.key_count)
        self._layout = _Layout([_Column(*column) for column in columns])
        self._key_types = [kind for _, kind in keys]
        self.column_names = self._layout.names
        self.key_names = [name for name, _ in keys]

    def _described(self, function, count):
        out = []
        for i in range(count):
            column = abi.Column()
            _call(function, self._handle, i, ctypes.byref(column))
            out.append((column.name.decode(), column.type))
        return out

    def _dict(self, address):
        return dict(zip(self._layout.names, self._layout.row(address)))

    def get(self, key=(), at=None):
        """The row as a dict, or None. at (tables with windows): a time in the window; None: the newest."""
        self._scope._alive()
        keep = []
        parts = _parts(key)
        row = ctypes.c_void_p()
        values = _values(parts, self._key_types, keep)
        found = _call(_lib.kappa_get, self._handle, values, len(parts),
                      abi.NEWEST if at is None else _time_us(at), ctypes.byref(row))
        return self._dict(row.value) if found else None

    def get_many(self, keys, at=None):
        """A list of dicts, None where there is no row; all at this snapshot."""
        self._scope._alive()
        keep = []
        keys = [_parts(key) for key in keys]
        width = len(keys[0]) if keys else 0
        if any(len(key) != width for key in keys):
            raise ValueError("keys of different lengths")
        flat = [part for key in keys for part in key]
        rows = (ctypes.c_void_p * max(1, len(keys)))()
        values = _values(flat, self._key_types[:width] * len(keys), keep)
        _call(_lib.kappa_get_many, self._handle, values, width, len(keys),
              abi.NEWEST if at is None else _time_us(at), rows)
        return [self._dict(rows[i]) if rows[i] else None for i in range(len(keys))]

    def scan(self, key=(), prefix=None, start=None, stop=None, window_least=None, window_most=None):
        """A generator of dicts in key order.

        key: leading key values that are equal; of the one behind them: prefix (text), or start <= value < stop.
        window_least, window_most: bounds of the window's end, inclusive; datetime or us."""
        names, take = self._layout.names, self._layout.row
        for address in self._scan(key, prefix, start, stop, window_least, window_most):
            yield dict(zip(names, take(address)))

    def columns(self, key=(), prefix=None, start=None, stop=None, window_least=None, window_most=None):
        """The same rows as {column: [values]}: what pandas.DataFrame takes."""
        addresses = self._scan(key, prefix, start, stop, window_least, window_most)
        return dict(zip(self._layout.names, self._layout.lists(addresses)))

    def _scan(self, key, prefix, start, stop, window_least, window_most):
        self._scope._alive()
        keep = []
        rows = ctypes.c_void_p()
        bounds = self._range(_parts(key), prefix, start, stop, window_least, window_most, keep)
        _call(_lib.kappa_scan, self._handle, ctypes.byref(bounds), ctypes.byref(rows))
        row = ctypes.c_void_p()
        error = abi.Error()
        error_at, row_at = ctypes.byref(error), ctypes.byref(row)
        following, scope = _lib.kappa_rows_next, self._scope
        try:
            while True:
                if scope._handle is None:  # between two rows the caller may have ended it
                    scope._alive()
                result = following(rows, row_at, error_at)
                if result != 1:
                    break
                yield row.value
            if result < 0:
                raise KappaError(_lib.kappa_code_word(result).decode(), error.text.decode("utf-8", "replace"),
                                 error.hint.decode("utf-8", "replace"))
        finally:
            if self._scope._handle is not None:
                _lib.kappa_rows_close(rows)

    def _range(self, parts, prefix, start, stop, window_least, window_most, keep):
        bounds = abi.Range()
        keys = _values(parts, self._key_types, keep)
        keep.append(keys)
        bounds.keys, bounds.key_count = keys, len(parts)
        following = self._key_types[len(parts):len(parts) + 1]
        for name, bound in (("from_", start), ("below", stop)):
            if bound is not None:
                value = _values((bound,), following, keep)
                keep.append(value)
                setattr(bounds, name, value)
        if prefix is not None:
            data = prefix.encode() if isinstance(prefix, str) else bytes(prefix)
            buffer = ctypes.create_string_buffer(data, len(data) + 1)
            text = abi.Text(ctypes.addressof(buffer), len(data))
            keep += [buffer, text]
            bounds.prefix = ctypes.pointer(text)
        bounds.windows = window_least is not None or window_most is not None
        bounds.window_end_least = -(1 << 63) if window_least is None else _time_us(window_least)
        bounds.window_end_most = (1 << 63) - 1 if window_most is None else _time_us(window_most)
        return bounds
