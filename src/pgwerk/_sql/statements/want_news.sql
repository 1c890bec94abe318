-- Say whether a worker wants to be notified of new jobs. It finds its row by the primary key; locks nothing else. The
-- index of those that want news gets an entry by it, or loses one.
UPDATE {workers}
SET wants_news = %(wants_news)s
WHERE id = %(id)s::uuid AND wants_news <> %(wants_news)s
