/* The events of Nexmark, an auction site: of every 50, 1 is a new person, 3 are new auctions and 46
 * are bids, with the standard distributions (github.com/nexmark/nexmark).
 *
 * Event n is a pure function of (settings, n): any range can be made again, alone. No clock: event
 * times count from NEXMARK_BASE_MS. All three kinds have one flat shape, JSON with a member
 * "event"; "id" is the record's key: a person's own, an auction's own, and the auction's of a bid.
 *
 *     {"event":"person","id","name","email","credit_card","city","state","date_time","extra"}
 *     {"event":"auction","id","item_name","description","initial_bid","reserve","date_time",
 *      "expires","seller","category","extra"}
 *     {"event":"bid","id","bidder","price","channel","url","date_time","extra"}
 *
 * Times are ms since 1970. Ids begin at 1000, prices are whole cents from 100 to 10^8,
 * log-uniform. Half of the bids go to a hot auction, three in four come from a hot bidder and three
 * in four auctions from a hot seller; the others choose among the newest 1000 people or 100 auctions
 * and 10 that are yet to come, so that some bids are there before their auction.
 *
 * What differs from the Java generator: it is seeded, bidders' ids are the ids of people (the
 * original adds 1000 twice), and prices come from multiplications alone, so that every machine makes
 * the same bytes. */
#ifndef KAPPA_CLI_NEXMARK_H
#define KAPPA_CLI_NEXMARK_H

#include "base/buf.h"

#define NEXMARK_BASE_MS  INT64_C(1760000000000)
#define NEXMARK_RATE_MAX 1000000000U
#define NEXMARK_SHUFFLE  953 /* a prime, as the original's */

struct nexmark {
    uint64_t seed;
    uint64_t rate;     /* events per second of event time, 1 .. NEXMARK_RATE_MAX */
    uint64_t disorder; /* events are shuffled within groups of so many; 1: in order; no multiple of
                          NEXMARK_SHUFFLE */
};

struct nexmark_event {
    uint64_t key;
    int64_t time_ms;
};

/* Appends the n-th event as one JSON object, without a line end. n < 2^50. */
struct nexmark_event nexmark_write(const struct nexmark *nexmark, uint64_t n, struct buf *out);

#endif
