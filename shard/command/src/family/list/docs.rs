//! What COMMAND DOCS says of lists.

use crate::{Doc, DocArg, DocKind, Group};

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::List, since, complexity, summary)
}

const ELEMENT: DocArg = DocArg::new("element", DocKind::String);
const LEFT_OR_RIGHT: &[DocArg] = &[DocArg::word("left", "LEFT"), DocArg::word("right", "RIGHT")];
const START_AND_STOP: &[DocArg] =
    &[DocArg::KEY, DocArg::new("start", DocKind::Integer), DocArg::new("stop", DocKind::Integer)];
const ELEMENTS: &[DocArg] = &[DocArg::KEY, ELEMENT.multiple()];
const POPPED: &[DocArg] = &[DocArg::KEY, DocArg::new("count", DocKind::Integer).optional().since("6.2.0")];

const EACH_ELEMENT: &str = "O(1) for each element";
const TIMEOUT: DocArg = DocArg::new("timeout", DocKind::Double);
const TIMEOUT_HISTORY: &[(&str, &str)] = &[("6.0.0", "`timeout` may have a fraction.")];
const COUNTED: &[(&str, &str)] = &[("6.2.0", "New argument `count`.")];

pub(super) const BLMOVE: Doc = doc(
    "6.2.0",
    "O(1)",
    "Moves an element from an end of one list to an end of another; waits for one if there is none.",
)
.arguments(&[
    DocArg::new("source", DocKind::Key),
    DocArg::new("destination", DocKind::SecondKey),
    DocArg::one_of("wherefrom", LEFT_OR_RIGHT),
    DocArg::one_of("whereto", LEFT_OR_RIGHT),
    TIMEOUT,
]);

pub(super) const BLMPOP: Doc = doc(
    "7.0.0",
    "O(N+M) for N keys and M elements",
    "Takes elements off an end of the first of several lists that is there; waits for one if none is.",
)
.arguments(&[
    TIMEOUT,
    DocArg::new("numkeys", DocKind::Integer),
    DocArg::KEY.multiple(),
    DocArg::one_of("where", LEFT_OR_RIGHT),
    DocArg::new("count", DocKind::Integer).token("COUNT").optional(),
]);

pub(super) const BLPOP: Doc = doc(
    "2.0.0",
    "O(N) for N keys",
    "Takes an element off the front of the first of several lists that is there; waits for one if none is.",
)
.arguments(&[DocArg::KEY.multiple(), TIMEOUT])
.history(TIMEOUT_HISTORY);

pub(super) const BRPOP: Doc = doc(
    "2.0.0",
    "O(N) for N keys",
    "Takes an element off the back of the first of several lists that is there; waits for one if none is.",
)
.arguments(&[DocArg::KEY.multiple(), TIMEOUT])
.history(TIMEOUT_HISTORY);

pub(super) const BRPOPLPUSH: Doc =
    doc("2.2.0", "O(1)", "Moves the last element of one list to the front of another; waits for one if there is none.")
        .arguments(&[DocArg::new("source", DocKind::Key), DocArg::new("destination", DocKind::SecondKey), TIMEOUT])
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")
        .history(TIMEOUT_HISTORY);

pub(super) const LINDEX: Doc =
    doc("1.0.0", "O(N) for N chunks before the index; O(1) at both ends", "Reads the element at an index of a list.")
        .arguments(&[DocArg::KEY, DocArg::new("index", DocKind::Integer)]);

pub(super) const LINSERT: Doc = doc(
    "2.2.0",
    "O(N) for N elements before the pivot",
    "Puts an element before or behind the first one that equals the pivot.",
)
.arguments(&[
    DocArg::KEY,
    DocArg::one_of("where", &[DocArg::word("before", "BEFORE"), DocArg::word("after", "AFTER")]),
    DocArg::new("pivot", DocKind::String),
    ELEMENT,
]);

pub(super) const LLEN: Doc = doc("1.0.0", "O(1)", "Tells how many elements a list has.").arguments(&[DocArg::KEY]);

pub(super) const LMOVE: Doc =
    doc("6.2.0", "O(1)", "Takes an element off an end of one list, adds it to an end of another, and answers with it.")
        .arguments(&[
            DocArg::new("source", DocKind::Key),
            DocArg::new("destination", DocKind::SecondKey),
            DocArg::one_of("wherefrom", LEFT_OR_RIGHT),
            DocArg::one_of("whereto", LEFT_OR_RIGHT),
        ]);

pub(super) const LMPOP: Doc = doc(
    "7.0.0",
    "O(N+M) for N keys and M elements",
    "Takes elements off an end of the first of several lists that is there.",
)
.arguments(&[
    DocArg::new("numkeys", DocKind::Integer),
    DocArg::KEY.multiple(),
    DocArg::one_of("where", LEFT_OR_RIGHT),
    DocArg::new("count", DocKind::Integer).token("COUNT").optional(),
]);

pub(super) const LPOP: Doc =
    doc("1.0.0", EACH_ELEMENT, "Takes elements off the front of a list.").arguments(POPPED).history(COUNTED);

pub(super) const LPOS: Doc = doc(
    "6.0.6",
    "O(N) for N elements that are compared",
    "Finds the indexes of the elements of a list that equal a value.",
)
.arguments(&[
    DocArg::KEY,
    ELEMENT,
    DocArg::new("rank", DocKind::Integer).token("RANK").optional(),
    DocArg::new("num-matches", DocKind::Integer).token("COUNT").optional(),
    DocArg::new("len", DocKind::Integer).token("MAXLEN").optional(),
]);

pub(super) const LPUSH: Doc =
    doc("1.0.0", EACH_ELEMENT, "Adds elements at the front of a list, which is created if the key is absent.")
        .arguments(ELEMENTS)
        .history(&[("2.4.0", "Takes several `element` arguments.")]);

pub(super) const LPUSHX: Doc = doc("2.2.0", EACH_ELEMENT, "Adds elements at the front of a list, if it is there.")
    .arguments(ELEMENTS)
    .history(&[("4.0.0", "Takes several `element` arguments.")]);

pub(super) const LRANGE: Doc =
    doc("1.0.0", "O(S+N) for S chunks before the start and N elements", "Reads a range of the elements of a list.")
        .arguments(START_AND_STOP);

pub(super) const LREM: Doc =
    doc("1.0.0", "O(N) for N elements in the list", "Removes elements that equal a value from a list.").arguments(&[
        DocArg::KEY,
        DocArg::new("count", DocKind::Integer),
        ELEMENT,
    ]);

pub(super) const LSET: Doc = doc(
    "1.0.0",
    "O(N) for N chunks before the index; O(1) at both ends",
    "Replaces the element at an index of a list.",
)
.arguments(&[DocArg::KEY, DocArg::new("index", DocKind::Integer), ELEMENT]);

pub(super) const LTRIM: Doc =
    doc("1.0.0", "O(N) for N chunks that are removed", "Removes all elements of a list but those of a range.")
        .arguments(START_AND_STOP);

pub(super) const RPOP: Doc =
    doc("1.0.0", EACH_ELEMENT, "Takes elements off the back of a list.").arguments(POPPED).history(COUNTED);

pub(super) const RPOPLPUSH: Doc =
    doc("1.2.0", "O(1)", "Moves the last element of one list to the front of another, and answers with it.")
        .arguments(&[DocArg::new("source", DocKind::Key), DocArg::new("destination", DocKind::SecondKey)])
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments");

pub(super) const RPUSH: Doc =
    doc("1.0.0", EACH_ELEMENT, "Adds elements at the back of a list, which is created if the key is absent.")
        .arguments(ELEMENTS)
        .history(&[("2.4.0", "Takes several `element` arguments.")]);

pub(super) const RPUSHX: Doc = doc("2.2.0", EACH_ELEMENT, "Adds elements at the back of a list, if it is there.")
    .arguments(ELEMENTS)
    .history(&[("4.0.0", "Takes several `element` arguments.")]);
