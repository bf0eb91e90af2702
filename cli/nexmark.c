/* Making Nexmark events. Own header: nexmark.h. Names of the numbers are those of the original. */
#include "cli/nexmark.h"

#include "base/prng.h"

#include <math.h>
#include <string.h>

enum {
    PERSON_PROPORTION = 1,
    AUCTION_PROPORTION = 3,
    PROPORTION = 50,
    FIRST_ID = 1000,
    FIRST_CATEGORY = 10,
    CATEGORIES = 5,
    ACTIVE_PEOPLE = 1000,
    PERSON_LEAD = 10,
    AUCTIONS_IN_FLIGHT = 100,
    AUCTION_LEAD = 10,
    HOT_BATCH = 100, /* the hot seller, auction and bidder change after so many */
    HOT_SELLERS = 4,
    HOT_AUCTIONS = 2,
    HOT_BIDDERS = 4,
    CHANNELS = 10000,
    PERSON_BYTES = 200,
    AUCTION_BYTES = 500,
    BID_BYTES = 100,
};

static const char *const states[] = {"AZ", "CA", "ID", "OR", "WA", "WY"};
static const char *const cities[] = {"Phoenix",  "Los Angeles", "San Francisco", "Boise",
                                     "Portland", "Bend",        "Redmond",       "Seattle",
                                     "Kent",     "Cheyenne"};
static const char *const first_names[] = {"Peter", "Paul",  "Luke",  "John",   "Saul",  "Vicky",
                                          "Kate",  "Julie", "Sarah", "Deiter", "Walter"};
static const char *const last_names[] = {"Shultz", "Abrams", "Spencer", "White", "Bartels",
                                         "Walton", "Smith",  "Jones",   "Noris"};
static const char *const hot_channels[] = {"Google", "Facebook", "Baidu", "Apple"};

/* ---- Text ---- */

static void add_number(struct buf *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_append(out, digits + at, sizeof digits - at);
}

static void add_member_number(struct buf *out, const char *name, uint64_t value)
{
    buf_append_text(out, name);
    add_number(out, value);
}

static void add_member_text(struct buf *out, const char *name, const char *text)
{
    buf_append_text(out, name);
    buf_append_text(out, text);
    buf_append_u8(out, '"');
}

/* len characters of an alphabet of at most 256. */
static void add_random(struct buf *out, struct prng *prng, size_t len, const char *alphabet,
                       uint32_t letters)
{
    buf_reserve(out, len + 8);
    uint8_t *at = out->data + out->len;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t draw = prng_next(prng);
        for (size_t k = 0; k < 8; k++) {
            at[i + k] = (uint8_t)alphabet[((draw >> (8 * k)) & 0xff) * letters >> 8];
        }
    }
    out->len += len;
    out->data[out->len] = '\0';
}

static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

static size_t text_len(struct prng *prng, uint64_t most)
{
    return 3 + (size_t)prng_below(prng, most - 3);
}

/* 3 to most - 1 letters and now and then a blank; the number of characters. */
static size_t add_words(struct buf *out, struct prng *prng, uint64_t most)
{
    size_t len = text_len(prng, most);
    add_random(out, prng, len, "abcdefghijklmnopqrstuvwxyz  ", 28);
    return len;
}

static size_t add_word(struct buf *out, struct prng *prng, uint64_t most)
{
    size_t len = text_len(prng, most);
    add_random(out, prng, len, letters, 26);
    return len;
}

/* Padding, so that an event has about `wish` bytes in the original's reckoning, a fifth more or
 * less. */
static void add_extra(struct buf *out, struct prng *prng, size_t have, size_t wish)
{
    size_t want = have < wish ? wish - have : 0;
    size_t delta = (want + 2) / 5;
    size_t len = want - delta + (delta == 0 ? 0 : (size_t)prng_below(prng, 2 * delta));
    buf_append_text(out, ",\"extra\":\"");
    add_random(out, prng, len, letters, 26);
    buf_append_text(out, "\"}");
}

/* ---- Who and what ---- */

static uint64_t last_person(uint64_t n)
{
    return n / PROPORTION;
}

/* The newest auction as of event n > 0. */
static uint64_t last_auction(uint64_t n)
{
    uint64_t epoch = n / PROPORTION;
    uint64_t place = n % PROPORTION;
    uint64_t made = place > AUCTION_PROPORTION ? AUCTION_PROPORTION : place;
    return epoch * AUCTION_PROPORTION + made - 1;
}

static uint64_t any_person(struct prng *prng, uint64_t n)
{
    uint64_t people = last_person(n) + 1;
    uint64_t active = people < ACTIVE_PEOPLE ? people : ACTIVE_PEOPLE;
    return people - active + prng_below(prng, active + PERSON_LEAD);
}

static uint64_t any_auction(struct prng *prng, uint64_t n)
{
    uint64_t last = last_auction(n);
    uint64_t least = last < AUCTIONS_IN_FLIGHT ? 0 : last - AUCTIONS_IN_FLIGHT;
    return least + prng_below(prng, last - least + 1 + AUCTION_LEAD);
}

/* round(100 * 10^(6u)), u uniform in [0, 1). The power is a product of the roots 10^(1/2),
 * 10^(1/4), ... that the bits of its fraction choose: pow() differs between C libraries. */
static uint64_t any_price(struct prng *prng)
{
    static const double roots[] = {
        3.16227766016837933200, 1.77827941003892280123, 1.33352143216332402568,
        1.15478198468945817967, 1.07460782832131749722, 1.03663292843769799729,
        1.01815172171818184147, 1.00903504484144743776, 1.00450736425446251566,
        1.00225114829291291547, 1.00112494139987987589, 1.00056231260220863662,
        1.00028111678778013240, 1.00014054851694725816, 1.00007027178941143554,
        1.00003513527746185661, 1.00001756748442267383, 1.00000878370363461215,
        1.00000439184217316724, 1.00000219591867555420, 1.00000109795873502041,
        1.00000054897921682111, 1.00000027448957073830, 1.00000013724477595108};
    static const double decades[] = {1e2, 1e3, 1e4, 1e5, 1e6, 1e7};
    uint128 scaled = (uint128)prng_next(prng) * array_len(decades);
    uint64_t fraction = (uint64_t)scaled;
    double price = decades[(uint64_t)(scaled >> 64)];
    for (size_t i = 0; i < array_len(roots); i++) {
        price *= fraction >> (63 - i) & 1 ? roots[i] : 1.0;
    }
    return (uint64_t)floor(price + 0.5);
}

static int64_t time_of(const struct nexmark *nexmark, uint64_t n)
{
    return NEXMARK_BASE_MS + (int64_t)((uint128)n * 1000 / nexmark->rate);
}

/* Auctions last up to twice the time in which AUCTIONS_IN_FLIGHT more are made. */
static int64_t expiry_of(const struct nexmark *nexmark, uint64_t n, struct prng *prng)
{
    int64_t now = time_of(nexmark, n);
    int64_t horizon =
        time_of(nexmark, n + AUCTIONS_IN_FLIGHT * PROPORTION / AUCTION_PROPORTION) - now;
    return now + 1 + (int64_t)prng_below(prng, horizon > 0 ? 2 * (uint64_t)horizon : 1);
}

/* ---- Events ---- */

static const char *pick(struct prng *prng, const char *const *from, size_t count)
{
    return from[prng_below(prng, count)];
}

static uint64_t write_person(const struct nexmark *nexmark, uint64_t n, struct prng *prng,
                             struct buf *out)
{
    uint64_t id = FIRST_ID + last_person(n);
    const char *first_name = pick(prng, first_names, array_len(first_names));
    const char *last_name = pick(prng, last_names, array_len(last_names));
    const char *city = pick(prng, cities, array_len(cities));
    const char *state = pick(prng, states, array_len(states));
    size_t have = 16 + strlen(first_name) + 1 + strlen(last_name) + strlen(city) + strlen(state);
    add_member_number(out, "{\"event\":\"person\",\"id\":", id);
    buf_append_text(out, ",\"name\":\"");
    buf_append_text(out, first_name);
    add_member_text(out, " ", last_name);
    buf_append_text(out, ",\"email\":\"");
    have += add_word(out, prng, 7);
    buf_append_u8(out, '@');
    have += add_word(out, prng, 5);
    buf_append_text(out, ".com\",\"credit_card\":\"");
    for (int i = 0; i < 4; i++) {
        add_random(out, prng, 4, "0123456789", 10);
        buf_append_u8(out, i < 3 ? ' ' : '"');
    }
    have += sizeof "@.com" - 1 + sizeof "0000 0000 0000 0000" - 1;
    add_member_text(out, ",\"city\":\"", city);
    add_member_text(out, ",\"state\":\"", state);
    add_member_number(out, ",\"date_time\":", (uint64_t)time_of(nexmark, n));
    add_extra(out, prng, have, PERSON_BYTES);
    return id;
}

static uint64_t write_auction(const struct nexmark *nexmark, uint64_t n, struct prng *prng,
                              struct buf *out)
{
    uint64_t id = FIRST_ID + last_auction(n);
    bool hot = prng_below(prng, HOT_SELLERS) > 0;
    uint64_t seller = hot ? last_person(n) / HOT_BATCH * HOT_BATCH : any_person(prng, n);
    uint64_t initial_bid = any_price(prng);
    add_member_number(out, "{\"event\":\"auction\",\"id\":", id);
    buf_append_text(out, ",\"item_name\":\"");
    size_t have = 48 + add_words(out, prng, 20);
    buf_append_text(out, "\",\"description\":\"");
    have += add_words(out, prng, 100);
    add_member_number(out, "\",\"initial_bid\":", initial_bid);
    add_member_number(out, ",\"reserve\":", initial_bid + any_price(prng));
    add_member_number(out, ",\"date_time\":", (uint64_t)time_of(nexmark, n));
    add_member_number(out, ",\"expires\":", (uint64_t)expiry_of(nexmark, n, prng));
    add_member_number(out, ",\"seller\":", FIRST_ID + seller);
    add_member_number(out, ",\"category\":", FIRST_CATEGORY + prng_below(prng, CATEGORIES));
    add_extra(out, prng, have, AUCTION_BYTES);
    return id;
}

static void add_url(struct buf *out, struct prng *prng)
{
    buf_append_text(out, "\",\"url\":\"https://www.nexmark.com/");
    for (int i = 0; i < 3; i++) {
        add_random(out, prng, text_len(prng, 5), "abcdefghijklmnopqrstuvwxyz__", 28);
        buf_append_u8(out, '/');
    }
    buf_append_text(out, "item.htm?query=1");
}

/* The original's channel_id: a number that only looks random. */
static uint64_t channel_id(uint64_t channel)
{
    uint32_t reversed = 0;
    for (uint32_t i = 0; i < 32; i++) {
        reversed |= ((uint32_t)channel >> i & 1U) << (31 - i);
    }
    return reversed < UINT32_C(1) << 31 ? reversed : (uint64_t)UINT32_MAX + 1 - reversed;
}

static void add_channel(struct buf *out, struct prng *prng)
{
    buf_append_text(out, ",\"channel\":\"");
    if (prng_below(prng, 2) > 0) {
        buf_append_text(out, hot_channels[prng_below(prng, array_len(hot_channels))]);
        add_url(out, prng);
    } else {
        uint64_t channel = prng_below(prng, CHANNELS);
        add_member_number(out, "channel-", channel);
        add_url(out, prng);
        if (prng_below(prng, 10) > 0) {
            add_member_number(out, "&channel_id=", channel_id(channel));
        }
    }
    buf_append_u8(out, '"');
}

static uint64_t write_bid(const struct nexmark *nexmark, uint64_t n, struct prng *prng,
                          struct buf *out)
{
    bool hot = prng_below(prng, HOT_AUCTIONS) > 0;
    uint64_t auction = hot ? last_auction(n) / HOT_BATCH * HOT_BATCH : any_auction(prng, n);
    hot = prng_below(prng, HOT_BIDDERS) > 0;
    uint64_t bidder = hot ? last_person(n) / HOT_BATCH * HOT_BATCH + 1 : any_person(prng, n);
    add_member_number(out, "{\"event\":\"bid\",\"id\":", FIRST_ID + auction);
    add_member_number(out, ",\"bidder\":", FIRST_ID + bidder);
    add_member_number(out, ",\"price\":", any_price(prng));
    add_channel(out, prng);
    add_member_number(out, ",\"date_time\":", (uint64_t)time_of(nexmark, n));
    add_extra(out, prng, 32, BID_BYTES);
    return FIRST_ID + auction;
}

struct nexmark_event nexmark_write(const struct nexmark *nexmark, uint64_t n, struct buf *out)
{
    ASSERT(nexmark->rate > 0);
    ASSERT(nexmark->disorder % NEXMARK_SHUFFLE > 0);
    ASSERT(n < UINT64_C(1) << 50);
    uint64_t group = nexmark->disorder;
    n = n / group * group + n % group * NEXMARK_SHUFFLE % group;
    struct prng prng;
    prng_init(&prng, nexmark->seed ^ (n * UINT64_C(0xD1342543DE82EF95)));
    (void)prng_next(&prng);
    uint64_t place = n % PROPORTION;
    uint64_t key;
    if (place < PERSON_PROPORTION) {
        key = write_person(nexmark, n, &prng, out);
    } else if (place < PERSON_PROPORTION + AUCTION_PROPORTION) {
        key = write_auction(nexmark, n, &prng, out);
    } else {
        key = write_bid(nexmark, n, &prng, out);
    }
    return (struct nexmark_event){key, time_of(nexmark, n)};
}
