/* The file as CSV: RFC 4180 but for lines that end with LF, as `kappa sql -o csv` writes them. What is
 * null has no byte, an empty text is "". Own header: export.h. */
#include "cli/export.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "processor/value_text.h"

#define WRITE_BYTES ((size_t)1 << 20)

struct writer {
    const struct export_job *export;
    FILE *file;
    const char *path;
    uint32_t columns;
    struct buf out;
    struct buf text;
};

static int flush(struct writer *writer, struct err *err)
{
    bool good = fwrite(writer->out.data, 1, writer->out.len, writer->file) == writer->out.len;
    buf_reset(&writer->out);
    return good ? 0 : err_errno(err, errno, "cannot write %s", writer->path);
}

static void header(struct writer *writer)
{
    const struct export_job *export = writer->export;
    for (uint32_t i = 0; i < export->name_count; i++) {
        if (i > 0) {
            buf_append_u8(&writer->out, ',');
        }
        csv_write(&writer->out, export->names[i], strlen(export->names[i]));
    }
    for (uint32_t t = 0; t < export->table_count; t++) {
        for (uint32_t c = 0; c < export->tables[t].column_count; c++) {
            const char *name = export->tables[t].columns[c].name;
            buf_append_u8(&writer->out, ',');
            csv_write(&writer->out, name, strlen(name));
            writer->columns++;
        }
    }
    buf_append_u8(&writer->out, '\n');
}

static int row(void *ctx, const struct csv_field *label, const struct kappa_value *values,
               struct err *err)
{
    struct writer *writer = ctx;
    for (uint32_t i = 0; i < writer->export->name_count; i++) {
        if (i > 0) {
            buf_append_u8(&writer->out, ',');
        }
        if (label[i].len > 0 || label[i].quoted) {
            csv_write(&writer->out, label[i].text, label[i].len);
        }
    }
    for (uint32_t c = 0; c < writer->columns; c++) {
        buf_append_u8(&writer->out, ',');
        if (!values[c].is_null) {
            buf_reset(&writer->text);
            value_text(&writer->text, &values[c]);
            csv_write(&writer->out, buf_text(&writer->text), writer->text.len);
        }
    }
    buf_append_u8(&writer->out, '\n');
    return writer->out.len >= WRITE_BYTES ? flush(writer, err) : 0;
}

int export_csv_make(const struct export_job *export, const char *path, struct err *err)
{
    struct writer writer = {.export = export, .path = path, .file = fopen(path, "wxe")};
    if (writer.file == NULL) {
        return err_errno(err, errno, "cannot make %s", path);
    }
    header(&writer);
    int rc = export_join(export, row, &writer, err);
    rc = rc == 0 ? flush(&writer, err) : rc;
    if (rc == 0 && (fflush(writer.file) != 0 || fsync(fileno(writer.file)) != 0)) {
        rc = err_errno(err, errno, "cannot write %s", path);
    }
    if (fclose(writer.file) != 0 && rc == 0) {
        rc = err_errno(err, errno, "cannot write %s", path);
    }
    buf_free(&writer.out);
    buf_free(&writer.text);
    return rc;
}
