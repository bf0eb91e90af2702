/* The operators of the simulator's definition that keep state between records, and a second input. */
#ifndef KAPPA_TESTS_SIM_OPERATORS_H
#define KAPPA_TESTS_SIM_OPERATORS_H

#include "include/kappa/plugin.h"
#include "tests/sim/sim.h"

#define SIM_OPERATORS                                                                              \
    "CREATE MATERIALIZED VIEW steps AS SELECT user_id, before, event_type, count(*) AS n,"         \
    " sum(place) AS places, sum(burst) AS bursts, max(least) AS least FROM (SELECT user_id,"       \
    " event_type, lag(event_type) OVER w AS before, row_number() OVER w AS place,"                 \
    " count(*) OVER (PARTITION BY user_id ORDER BY event_time RANGE BETWEEN interval '4 s'"        \
    " PRECEDING AND CURRENT ROW) AS burst, min(amount) OVER (PARTITION BY user_id ORDER BY"        \
    " event_time ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS least FROM events"                   \
    " WINDOW w AS (PARTITION BY user_id ORDER BY event_time)) s"                                   \
    " GROUP BY user_id, before, event_type;"                                                       \
    "CREATE VIEW viewed AS SELECT user_id, product_id FROM events WHERE event_type = 'view';"      \
    "CREATE VIEW bought AS SELECT user_id, amount FROM events WHERE event_type = 'purchase';"      \
    "CREATE MATERIALIZED VIEW led AS SELECT b.user_id, v.product_id AS led, count(*) AS n,"        \
    " max(b.amount) AS most FROM bought b LEFT JOIN viewed v ON v.user_id = b.user_id"             \
    " GROUP BY b.user_id, v.product_id;"                                                           \
    "CREATE MATERIALIZED VIEW dearest AS SELECT user_id, place, amount, product_id FROM"           \
    " (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY amount DESC) AS place"           \
    " FROM events) s WHERE place <= 3;"                                                            \
    "CREATE TABLE profiles (id text PRIMARY KEY, level bigint) WITH (topic = '" SIM_PROFILES "');" \
    "CREATE MATERIALIZED VIEW people AS SELECT id, level, 60 / level AS share FROM profiles"       \
    " WHERE level <> 3;"

#define SIM_PLUGIN_VIEW                                                                            \
    "CREATE MATERIALIZED VIEW counted AS SELECT user_id, count(*) AS n, sum(number) AS total,"     \
    " max(number) AS most FROM plugin('sim.so', events) AS f(user_id text, number bigint)"         \
    " GROUP BY user_id;"

/* Counts the events of each user; starts anew behind a purchase of p0; makes a row per event, two of a
 * click on p1; refuses views of p2. */
extern const struct kappa_plugin sim_plugin;
extern const struct kappa_plugin *const sim_plugins[];

#endif
