"""A private PostgreSQL 15: its own directory, a unix socket only, stopped and removed at the end.

The server refuses to run as root; as root it is run as the user that Debian's package made.
"""

import glob
import json
import os
import shutil
import subprocess
import tempfile


class PostgresUnavailable(Exception):
    pass


def find_binaries():
    for folder in [os.environ.get("KAPPA_POSTGRES"), *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]:
        if folder and os.path.exists(os.path.join(folder, "initdb")):
            return folder
    raise PostgresUnavailable("there is no PostgreSQL (Debian package postgresql-15)")


# The value of an expression for each row of t, as JSON: text, null, or {"error": SQLSTATE, "message": ...}. At once
# where no row fails, else row by row.
EVALUATE = """
CREATE FUNCTION evaluate(expr text) RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
  result text;
  value text;
  row_id integer;
  parts text[];
BEGIN
  BEGIN
    EXECUTE 'SELECT json_agg((' || expr || ')::text ORDER BY id)::text FROM t' INTO result;
    RETURN replace(result, E'\\n', '');
  EXCEPTION WHEN OTHERS THEN NULL;
  END;
  FOR row_id IN SELECT id FROM t ORDER BY id LOOP
    BEGIN
      EXECUTE 'SELECT (' || expr || ')::text FROM t WHERE id = ' || row_id INTO value;
      parts := parts || coalesce(to_json(value)::text, 'null');
    EXCEPTION WHEN OTHERS THEN
      parts := parts || json_build_object('error', SQLSTATE, 'message', SQLERRM)::text;
    END;
  END LOOP;
  RETURN '[' || array_to_string(parts, ',') || ']';
END $body$;
"""


class Postgres:
    def __init__(self):
        self.binaries = find_binaries()
        self.directory = tempfile.mkdtemp(prefix="kappa-pg-")
        self.data = os.path.join(self.directory, "data")
        self.user = []
        if os.geteuid() == 0:
            self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(self.directory, "postgres", "postgres")

    def _call(self, program, *args, **kwargs):
        return subprocess.run([*self.user, os.path.join(self.binaries, program), *args], cwd=self.directory,
                              capture_output=True, text=True, timeout=300, **kwargs)

    def __enter__(self):
        try:
            made = self._call("initdb", "-D", self.data, "--no-sync", "--auth=trust", "--username=postgres",
                              "--encoding=UTF8", "--locale=C.UTF-8")
            if made.returncode != 0:
                raise PostgresUnavailable("initdb: " + made.stderr[-500:])
            options = (f"-c listen_addresses= -k {self.directory} -F -c timezone=UTC -c max_connections=10"
                       " -c shared_buffers=16MB -c autovacuum=off -c jit=off")
            log = os.path.join(self.directory, "server.log")
            started = subprocess.run([*self.user, os.path.join(self.binaries, "pg_ctl"), "-D", self.data, "-w", "-t",
                                      "60", "-l", log, "-o", options, "start"], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.directory,
                                     timeout=120)
            if started.returncode != 0:
                raise PostgresUnavailable("pg_ctl start failed; see " + log)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        if os.path.exists(os.path.join(self.data, "postmaster.pid")):
            self._call("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.directory, ignore_errors=True)

    def sql(self, script):
        """Runs a script with psql; its output, rows as lines, fields between |."""
        result = self._call("psql", "-h", self.directory, "-U", "postgres", "-d", "postgres", "-qAtX", "-v",
                            "ON_ERROR_STOP=1", input=script)
        assert result.returncode == 0, result.stderr[-2000:]
        return result.stdout

    def table(self, columns, rows):
        """Makes t (id, columns...) with these rows of texts and nulls."""
        names = ", ".join(f"{name} {kind}" for name, kind in columns)
        values = ",\n".join(f"({i}, " + ", ".join(quote(value) for value in row) + ")" for i, row in enumerate(rows))
        self.sql(f"DROP TABLE IF EXISTS t; CREATE TABLE t (id integer PRIMARY KEY, {names}); INSERT INTO t VALUES {values};"
                 "DROP FUNCTION IF EXISTS evaluate;" + EVALUATE)

    def evaluate(self, expressions):
        """For each expression the list of its values over t."""
        script = "".join(f"SELECT evaluate({quote(expr)});\n" for expr in expressions)
        lines = self.sql(script).split("\n")[:-1]
        assert len(lines) == len(expressions), (len(lines), len(expressions))
        return [json.loads(line) for line in lines]


def quote(value):
    if value is None:
        return "NULL"
    return " E'" + value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"
