//! Inline requests: words, quotes and escapes (Redis: `sdssplitargs`), unescaped in place.
