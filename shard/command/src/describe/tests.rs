use super::*;
use crate::family::testing::{Fixture, Request, show};
use crate::find;
use slotmesh_resp::Protocol;

fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Reply::new(&mut out, protocol));
    show(&out)
}

fn described(line: &str, protocol: Protocol, write: impl FnOnce(Args<'_>, &mut Reply<'_>)) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let request = Request::new(&words);
    written(protocol, |reply| write(request.args(), reply))
}

#[test]
fn command_info_has_the_shape_of_redis() {
    // redis-server 7.0.15, COMMAND INFO get nope; 7.2.6 prints the same.
    let key_spec = "flags ~2 +RO +access begin_search %2 type index spec %1 index :1 \
        find_keys %2 type range spec %3 lastkey :0 keystep :1 limit :0";
    let bulk = |word: &str| match word.as_bytes()[0] {
        b'~' | b'%' | b'+' | b':' | b'*' | b'_' => word.to_owned(),
        _ => format!("${} {word}", word.len()),
    };
    let text = format!("*2 *10 get :2 ~2 +readonly +fast :1 :1 :1 ~3 +@read +@string +@fast ~0 ~1 %3 {key_spec} ~0 _");
    let expected = text.split_whitespace().map(bulk).collect::<Vec<_>>().join(" ");
    assert_eq!(described("COMMAND INFO get nope", Protocol::Resp3, command_info), expected);
    let flat = expected.replace("%3", "*6").replace("%2", "*4").replace("%1", "*2").replace('~', "*");
    assert_eq!(described("COMMAND INFO GET nope", Protocol::Resp2, command_info), flat.replace(" _", " $-1"));
}

#[test]
fn subcommands_are_named_with_their_container() {
    let one = described("COMMAND INFO Config|Get", Protocol::Resp3, command_info);
    assert!(
        one.starts_with(
            "*1 *10 $10 config|get :-3 ~4 +admin +noscript +loading +stale :0 :0 :0 ~3 +@admin +@slow +@dangerous"
        ),
        "{one}"
    );
    let all = described("COMMAND INFO config", Protocol::Resp3, command_info);
    assert!(all.starts_with("*1 *10 $6 config :-2 ~0 :0 :0 :0 ~1 +@slow ~0 ~0 *5 *10 $10 config|get"), "{all}");
}

#[test]
fn all_commands_are_described() {
    let count = written(Protocol::Resp2, command_count);
    assert_eq!(count, format!(":{}", all().len()));
    let everything = written(Protocol::Resp3, command_all);
    assert!(everything.starts_with(&format!("*{} *10 $6 append", all().len())));
    assert_eq!(described("COMMAND INFO", Protocol::Resp3, command_info), everything);
    let docs = described("COMMAND DOCS", Protocol::Resp3, command_docs);
    assert!(docs.starts_with(&format!("%{} $6 append %5 $7 summary", all().len())), "{docs:.200}");
}

#[test]
fn docs_tell_arguments_history_and_deprecation() {
    let docs = described("COMMAND DOCS nope getset", Protocol::Resp3, command_docs);
    let tail = "$9 doc_flags ~1 +deprecated $16 deprecated_since $5 6.2.0 $11 replaced_by $30 `SET` with the `!GET` argument \
        $9 arguments *2 %4 $4 name $3 key $4 type $3 key $12 display_text $3 key $14 key_spec_index :0 \
        %3 $4 name $5 value $4 type $6 string $12 display_text $5 value";
    assert!(docs.starts_with("%1 $6 getset %8 $7 summary"), "{docs}");
    assert!(docs.ends_with(tail), "{docs}");
    let nested = described("COMMAND DOCS expire", Protocol::Resp3, command_docs);
    assert!(nested.contains("$7 history ~1 *2 $5 7.0.0 "), "{nested}");
    assert!(
        nested.contains("%5 $4 name $9 condition $4 type $5 oneof $5 since $5 7.0.0 $5 flags ~1 +optional $9 arguments *4 %4 $4 name $2 nx $4 type $10 pure-token $12 display_text $2 nx $5 token $2 NX"),
        "{nested}"
    );
    let container = described("COMMAND DOCS client", Protocol::Resp3, command_docs);
    assert!(container.contains("$11 subcommands %18 $14 client|getname %4 $7 summary"), "{container}");
}

#[test]
fn lists_are_filtered() {
    let list = |line: &str| {
        described(line, Protocol::Resp2, |args, reply| {
            if let Err(error) = command_list(args, reply) {
                reply.error(error);
            }
        })
    };
    let subcommands: usize = all().iter().map(|spec| spec.subcommands.len()).sum();
    assert!(list("COMMAND LIST").starts_with(&format!("*{} ", all().len() + subcommands)));
    assert_eq!(list("COMMAND LIST FILTERBY PATTERN PE*AT"), "*1 $9 pexpireat");
    assert_eq!(list("COMMAND LIST filterby pattern config|?et"), "*2 $10 config|get $10 config|set");
    assert_eq!(list("COMMAND LIST FILTERBY MODULE x"), "*0");
    assert_eq!(list("COMMAND LIST FILTERBY ACLCAT nope"), "*0");
    assert!(list("COMMAND LIST FILTERBY ACLCAT dangerous").contains("$8 flushall"));
    for wrong in ["FILTERBY", "FILTERBY MODULE", "FILTERBY x y", "x", "FILTERBY MODULE x y"] {
        assert_eq!(list(&format!("COMMAND LIST {wrong}")), "-ERR syntax error");
    }
}

#[test]
fn keys_of_requests() {
    let keys = |line| described(line, Protocol::Resp2, |args, reply| command_get_keys(args, false, reply));
    assert_eq!(keys("COMMAND GETKEYS MSET a 1 b 2"), "*2 $1 a $1 b");
    assert_eq!(keys("COMMAND GETKEYS get a"), "*1 $1 a");
    assert_eq!(keys("COMMAND GETKEYS get"), "-ERR Invalid number of arguments specified for command");
    assert_eq!(keys("COMMAND GETKEYS nope a"), "-ERR Invalid command specified");
    assert_eq!(keys("COMMAND GETKEYS config nope"), "-ERR Invalid command specified");
    assert_eq!(keys("COMMAND GETKEYS config get x"), "-ERR The command has no key arguments");
    assert_eq!(keys("COMMAND GETKEYS ping"), "-ERR The command has no key arguments");
    let flags = |line| described(line, Protocol::Resp3, |args, reply| command_get_keys(args, true, reply));
    assert_eq!(flags("COMMAND GETKEYSANDFLAGS SET a 1"), "*1 *2 $1 a ~2 +OW +update");
    assert_eq!(flags("COMMAND GETKEYSANDFLAGS SET a 1 gEt"), "*1 *2 $1 a ~3 +RW +access +update");
    assert_eq!(flags("COMMAND GETKEYSANDFLAGS DEL a b"), "*2 *2 $1 a ~2 +RM +delete *2 $1 b ~2 +RM +delete");
}

#[test]
fn help_is_framed_as_in_redis() {
    let help = written(Protocol::Resp2, |reply| write_help(find(b"config").unwrap(), reply));
    let lines: Vec<_> = help.split(" +").collect();
    assert_eq!(lines[0], "*11");
    assert_eq!(lines[1], "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    assert_eq!(lines[2], "GET <parameter> [<parameter> ...]");
    assert_eq!(lines[10..], ["HELP", "    Print this help."]);
    let client = written(Protocol::Resp2, |reply| write_help(find(b"client").unwrap(), reply));
    assert!(
        client.contains("LIST [TYPE (normal|master|replica|pubsub)] [ID <client-id> [<client-id> ...]]"),
        "{client}"
    );
}

#[test]
fn unknown_names_are_echoed_within_bounds() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.run("FOO a b"), "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' ");
    assert_eq!(fixture.run("FOO"), "-ERR unknown command 'FOO', with args beginning with: ");
    assert_eq!(fixture.run("client foo"), "-ERR unknown subcommand 'foo'. Try CLIENT HELP.");
    assert_eq!(fixture.run("client"), "-ERR wrong number of arguments for 'client' command");
    let long = "x".repeat(200);
    let cut = "x".repeat(128);
    assert_eq!(fixture.run(&format!("config {long}")), format!("-ERR unknown subcommand '{cut}'. Try CONFIG HELP."));
    assert_eq!(
        fixture.run(&format!("{long} {long} a")),
        format!("-ERR unknown command '{cut}', with args beginning with: '{cut}' ")
    );
    let (hundred, rest) = ("y".repeat(100), "y".repeat(25));
    assert_eq!(
        fixture.run(&format!("FOO {hundred} {hundred} a")),
        format!("-ERR unknown command 'FOO', with args beginning with: '{hundred}' '{rest}' ")
    );
    let broken = fixture.run_words(&[b"a\r\nb\0c", b"d\re"]);
    assert_eq!(broken, b"-ERR unknown command 'a  b', with args beginning with: 'd e' \r\n");
}
