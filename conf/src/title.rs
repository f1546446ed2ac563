//! `proc-title-template`: text with variables in braces. Reference: `sdstemplate` in `sds.c`.

/// The variables that a template may name.
pub(crate) const VARIABLES: &[&str] =
    &["title", "listen-addr", "server-mode", "config-file", "port", "tls-port", "unixsocket"];

/// Puts values in place of `{name}`; `{{` stands for a brace. Nothing if a brace is not closed or `value` knows no such
/// variable. Blanks at both ends are cut.
pub fn expand(template: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        if let Some(literal) = after.strip_prefix('{') {
            text.push('{');
            rest = literal;
            continue;
        }
        let (name, behind) = after.split_once('}')?;
        text.push_str(&value(name)?);
        rest = behind;
    }
    text.push_str(rest);
    Some(text.trim_matches(' ').to_owned())
}

/// Whether a title can be made of it.
pub(crate) fn is_valid(template: &str) -> bool {
    let known = |name: &str| VARIABLES.contains(&name).then(|| "x".to_owned());
    expand(template, known).is_some_and(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{expand, is_valid};

    #[test]
    fn variables_are_replaced_and_unknown_ones_refused() {
        let value = |name: &str| (name == "port").then(|| "7".to_owned());
        for (template, title) in [
            ("a {port} b", Some("a 7 b")),
            (" {port}{port} ", Some("77")),
            ("{{port}", Some("{port}")),
            ("{port", None),
            ("{nope}", None),
            ("", Some("")),
        ] {
            assert_eq!(expand(template, value).as_deref(), title, "{template}");
        }
        assert!(is_valid("{title} {listen-addr} {server-mode}") && !is_valid("") && !is_valid("{pid}"));
    }
}
