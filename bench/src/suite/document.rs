//! The file of results as its sections, so that one can be measured anew and the others stay.

use crate::failure::Failure;
use std::io::ErrorKind;
use std::path::Path;

/// How the file begins; another one is not ours to keep.
const BEGINNING: &str = "# Results\n";
/// What comes before the title of a section.
const HEADING: &str = "\n## ";

/// An introduction and titled sections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Document {
    introduction: String,
    sections: Vec<Section>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Section {
    title: String,
    text: String,
}

impl Document {
    /// One without sections.
    pub(super) fn new(introduction: String) -> Self {
        Self { introduction: introduction.trim_end().to_owned(), sections: Vec::new() }
    }

    /// What was written before; `None` if there is no such file, or none of ours.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::Read { path: path.to_owned(), error }),
        }
    }

    /// A new one that has of this one only the sections with none of the titles: others' sections.
    pub(super) fn renewed(self, introduction: String, titles: &[&str]) -> Self {
        let mut new = Self::new(introduction);
        new.sections = self.sections;
        new.sections.retain(|section| !titles.contains(&&*section.title));
        new
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(HEADING);
        let mut document = Self::new(parts.next().filter(|text| text.starts_with(BEGINNING))?.to_owned());
        document.sections = parts.map(Section::parse).collect();
        Some(document)
    }

    /// Puts a section in the place of the one with its title, else where `order`, a list of titles, has it.
    pub(super) fn put(&mut self, title: &str, text: &str, order: &[&str]) {
        let text = text.trim().to_owned();
        if let Some(present) = self.sections.iter_mut().find(|section| section.title == title) {
            present.text = text;
            return;
        }
        let rank = |title: &str| order.iter().position(|one| *one == title).unwrap_or(order.len());
        let place = self.sections.iter().position(|section| rank(&section.title) > rank(title));
        let section = Section { title: title.to_owned(), text };
        self.sections.insert(place.unwrap_or(self.sections.len()), section);
    }
}

impl Section {
    /// Reads a section from its title on.
    fn parse(text: &str) -> Self {
        let (title, text) = text.split_once('\n').unwrap_or((text, ""));
        Self { title: title.trim().to_owned(), text: text.trim().to_owned() }
    }
}

impl std::fmt::Display for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.introduction)?;
        self.sections.iter().try_for_each(|Section { title, text }| write!(f, "{HEADING}{title}\n\n{text}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: [&str; 3] = ["Speed", "Lists", "Memory"];
    const TEXT: &str = "# Results\n\nHow.\n\n## Speed\n\nFast.\n\n### GET\n\n| 1 |\n\n## Memory\n\nSmall.\n";

    #[test]
    fn a_file_reads_as_it_was_written() {
        assert_eq!(Document::parse(TEXT).unwrap().to_string(), TEXT);
        let committed = include_str!("../../RESULTS.md");
        assert_eq!(Document::parse(committed).unwrap().to_string(), committed);
    }

    #[test]
    fn one_section_changes_and_the_others_stay() {
        let mut document = Document::parse(TEXT).unwrap();
        document.put("Speed", "\nFaster.\n", &ORDER);
        document.put("Lists", "Long.", &ORDER);
        let expected = "# Results\n\nHow.\n\n## Speed\n\nFaster.\n\n## Lists\n\nLong.\n\n## Memory\n\nSmall.\n";
        assert_eq!(document.to_string(), expected);
    }

    #[test]
    fn measuring_all_leaves_the_sections_of_others() {
        let text = format!("{TEXT}\n## Conformance\n\n| all |\n");
        let mut document = Document::parse(&text).unwrap().renewed("# Results\n\nAnew.\n".to_owned(), &ORDER);
        document.put("Speed", "Faster.", &ORDER);
        assert_eq!(document.to_string(), "# Results\n\nAnew.\n\n## Speed\n\nFaster.\n\n## Conformance\n\n| all |\n");
    }

    #[test]
    fn sections_stand_in_their_order_whichever_comes_first() {
        let mut document = Document::new("# Results\n".to_owned());
        for title in ["Other", "Memory", "Lists", "Speed"] {
            document.put(title, "x", &ORDER);
        }
        let titles: Vec<_> = document.sections.iter().map(|section| section.title.as_str()).collect();
        assert_eq!(titles, ["Speed", "Lists", "Memory", "Other"]);
    }

    #[test]
    fn a_file_that_is_not_ours_is_no_document() {
        assert_eq!(Document::parse("Notes\n\n## Speed\n"), None);
        assert!(Document::read(Path::new("/nonexistent/results.md")).unwrap().is_none());
        assert!(Document::read(Path::new("/")).is_err());
    }
}
