-- Events of an auction site, as `kappa nexmark` writes them: one topic, three kinds, one order.
-- The key of a record is "id": a person's own, an auction's own, and the auction's of a bid.
CREATE TABLE nexmark (
    event text,                                            -- 'person', 'auction' or 'bid'
    id bigint, date_time timestamptz, extra text,
    name text, email text, credit_card text, city text, state text,
    item_name text, description text, initial_bid bigint, reserve bigint,
    expires timestamptz, seller bigint, category bigint,
    bidder bigint, price bigint, channel text, url text
) WITH (topic = 'nexmark', key = 'id', event_time = 'date_time', watermark = '4 s');

CREATE VIEW person AS
SELECT id, name, email, credit_card, city, state, date_time, extra
FROM nexmark WHERE event = 'person';

CREATE VIEW auction AS
SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra
FROM nexmark WHERE event = 'auction';

CREATE VIEW bid AS
SELECT id AS auction, bidder, price, channel, url, date_time, extra
FROM nexmark WHERE event = 'bid';

