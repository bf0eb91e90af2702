/* A row by its key and the rows around it, all from one snapshot.
 *
 *     cc read.c $(pkg-config --cflags --libs kappa) -o read
 *     ./read DATA TABLE KEY...          TABLE may be table@3; a key value is text */
#include <kappa/reader.h>

#include <stdio.h>
#include <stdlib.h>

static struct kappa_error error;

static int fail(void)
{
    (void)fprintf(stderr, "%s: %s\n", kappa_code_word(error.code), error.text);
    if (error.hint[0] != '\0') {
        (void)fprintf(stderr, "%s\n", error.hint);
    }
    return 1;
}

/* One row as a line of JSON. */
static int print_row(struct kappa_table *table, const struct kappa_value *row)
{
    struct kappa_table_shape_info shape;
    if (kappa_table_describe(table, &shape, &error) != 0) {
        return fail();
    }
    for (uint32_t i = 0; i < shape.column_count; i++) {
        struct kappa_column column;
        char text[4096]; /* longer values are cut off */
        if (kappa_table_column(table, i, &column, &error) != 0) {
            return fail();
        }
        (void)kappa_value_json(&row[i], text, sizeof text);
        (void)printf("%s\"%s\":%s", i == 0 ? "{" : ",", column.name, text);
    }
    (void)printf("}\n");
    return 0;
}

static int read_all(struct kappa_scope *scope, const char *const *keys, uint32_t count)
{
    struct kappa_stamp stamp;
    struct kappa_table *table = NULL;
    struct kappa_rows *rows = NULL;
    const struct kappa_value *row = NULL;
    if (kappa_scope_stamp(scope, &stamp, &error) != 0 ||
        kappa_scope_table(scope, NULL, &table, &error) != 0) {
        return fail();
    }
    (void)printf("version %u of %s, epoch %llu\n", stamp.version, stamp.processor,
                 (unsigned long long)stamp.epoch);
    if (count > 0) {
        int rc = kappa_get_text(table, keys, count, KAPPA_NEWEST, &row, &error);
        return rc < 0 ? fail() : rc == 0 ? puts("no row") == EOF : print_row(table, row);
    }
    int rc = kappa_scan(table, NULL, &rows, &error);
    while (rc == 0 && (rc = kappa_rows_next(rows, &row, &error)) == 1) {
        rc = print_row(table, row);
    }
    return rc < 0 ? fail() : rc; /* the scope closes the scan */
}

int main(int argc, char **argv)
{
    struct kappa_reader *reader = NULL;
    struct kappa_scope *scope = NULL;
    if (argc < 3) {
        (void)fprintf(stderr, "usage: read DATA TABLE [KEY...]\n");
        return 2;
    }
    if (kappa_reader_open(argv[1], &reader, &error) != 0 ||
        kappa_scope_begin(reader, argv[2], &scope, &error) != 0) {
        (void)kappa_reader_close(reader, NULL);
        return fail();
    }
    int rc = read_all(scope, (const char *const *)argv + 3, (uint32_t)(argc - 3));
    kappa_scope_end(scope);
    (void)kappa_reader_close(reader, NULL);
    return rc;
}
