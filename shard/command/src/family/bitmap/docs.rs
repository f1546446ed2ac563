//! What COMMAND DOCS says of bitmaps.

use crate::{Doc, DocArg, DocKind, Group};

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Bitmap, since, complexity, summary)
}

const fn integer(name: &'static str) -> DocArg {
    DocArg::new(name, DocKind::Integer)
}

const UNIT: DocArg =
    DocArg::one_of("unit", &[DocArg::word("byte", "BYTE"), DocArg::word("bit", "BIT")]).optional().since("7.0.0");
const ENCODING: DocArg = DocArg::new("encoding", DocKind::String);
const UNITS_SINCE: &[(&str, &str)] = &[("7.0.0", "New option `BYTE|BIT`.")];

pub(super) const BITCOUNT: Doc = doc("2.6.0", "O(N)", "Counts the bits of a string, or of a part of it, that are set.")
    .arguments(&[DocArg::KEY, DocArg::block("range", &[integer("start"), integer("end"), UNIT]).optional()])
    .history(UNITS_SINCE);

pub(super) const BITPOS: Doc = doc("2.8.7", "O(N)", "Finds the first bit of a string that is set, or that is not.")
    .arguments(&[
        DocArg::KEY,
        integer("bit"),
        DocArg::block(
            "range",
            &[integer("start"), DocArg::block("end-unit-block", &[integer("end"), UNIT]).optional()],
        )
        .optional(),
    ])
    .history(UNITS_SINCE);

pub(super) const BITOP: Doc = doc("2.6.0", "O(N)", "Combines strings bit by bit and stores the result.").arguments(&[
    DocArg::one_of(
        "operation",
        &[DocArg::word("and", "AND"), DocArg::word("or", "OR"), DocArg::word("xor", "XOR"), DocArg::word("not", "NOT")],
    ),
    DocArg::new("destkey", DocKind::Key),
    DocArg::new("key", DocKind::SecondKey).multiple(),
]);

pub(super) const GETBIT: Doc =
    doc("2.2.0", "O(1)", "Reads one bit of a string.").arguments(&[DocArg::KEY, integer("offset")]);

pub(super) const SETBIT: Doc = doc(
    "2.2.0",
    "O(1)",
    "Writes one bit of a string, which grows by zeros as needed and is created if the key is absent.",
)
.arguments(&[DocArg::KEY, integer("offset"), integer("value")]);

const GET: DocArg = DocArg::block("get-block", &[ENCODING, integer("offset")]).token("GET");

pub(super) const BITFIELD: Doc =
    doc("3.2.0", "O(1) for each operation", "Reads and writes integers of any width at any bit of a string.")
        .arguments(&[
            DocArg::KEY,
            DocArg::one_of(
                "operation",
                &[
                    GET,
                    DocArg::block(
                        "write",
                        &[
                            DocArg::one_of(
                                "overflow-block",
                                &[
                                    DocArg::word("wrap", "WRAP"),
                                    DocArg::word("sat", "SAT"),
                                    DocArg::word("fail", "FAIL"),
                                ],
                            )
                            .token("OVERFLOW")
                            .optional(),
                            DocArg::one_of(
                                "write-operation",
                                &[
                                    DocArg::block("set-block", &[ENCODING, integer("offset"), integer("value")])
                                        .token("SET"),
                                    DocArg::block("incrby-block", &[ENCODING, integer("offset"), integer("increment")])
                                        .token("INCRBY"),
                                ],
                            ),
                        ],
                    ),
                ],
            )
            .multiple()
            .optional(),
        ]);

pub(super) const BITFIELD_RO: Doc =
    doc("6.0.0", "O(1) for each operation", "Reads integers of any width at any bit of a string.")
        .arguments(&[DocArg::KEY, GET.optional().multiple().multiple_token()]);
