//! Finds the elements of an HTML document that bear `data-trunk`.
//!
//! It knows as much of HTML as start tags, comments and raw text need (WHATWG HTML, 13.2.5) and never builds a tree.

use std::collections::BTreeMap;
use std::ops::Range;

/// A start tag with the attribute `data-trunk`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// In lower case.
    pub(crate) name: String,
    /// Where the tag stands in the document, angle brackets included.
    pub(crate) range: Range<usize>,
    /// Names in lower case; an attribute without a value has an empty one. Of equal names the first counts.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// Elements whose content is text, whatever it looks like.
const RAW_TEXT: [&str; 4] = ["script", "style", "title", "textarea"];

/// All elements with `data-trunk`, in the order of the document.
pub(crate) fn trunk_elements(html: &str) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut at = 0;
    while let Some(offset) = html[at..].find('<') {
        let start = at + offset;
        let rest = &html[start..];
        if rest.starts_with("<!--") {
            at = rest.find("-->").map_or(html.len(), |end| start + end + 3);
        } else if rest[1..].starts_with(|c: char| c.is_ascii_alphabetic()) {
            let (element, end) = start_tag(html, start);
            at = end;
            if RAW_TEXT.contains(&element.name.as_str()) {
                at = end_of_text(html, end, &element.name);
            }
            if element.attributes.contains_key("data-trunk") {
                elements.push(element);
            }
        } else {
            at = start + 1;
        }
    }
    elements
}

/// Reads the start tag that begins at `start`, and gives the position after it.
fn start_tag(html: &str, start: usize) -> (Element, usize) {
    let mut reader = Reader { html, at: start + 1 };
    let name = reader.take_until(|c| c.is_ascii_whitespace() || c == '/' || c == '>').to_ascii_lowercase();
    let mut attributes = BTreeMap::new();
    loop {
        reader.take_until(|c| !(c.is_ascii_whitespace() || c == '/'));
        if reader.rest().is_empty() || reader.skip('>') {
            break;
        }
        let (name, value) = attribute(&mut reader);
        attributes.entry(name).or_insert(value);
    }
    (Element { name, range: start..reader.at, attributes }, reader.at)
}

fn attribute(reader: &mut Reader<'_>) -> (String, String) {
    // A leading `=` belongs to the name, so that every turn of the caller's loop takes something.
    let leading = if reader.skip('=') { "=" } else { "" };
    let name = reader.take_until(|c| c.is_ascii_whitespace() || matches!(c, '/' | '>' | '='));
    let name = format!("{leading}{}", name.to_ascii_lowercase());
    let before_equals = reader.at;
    reader.take_until(|c| !c.is_ascii_whitespace());
    if !reader.skip('=') {
        reader.at = before_equals;
        return (name, String::new());
    }
    reader.take_until(|c| !c.is_ascii_whitespace());
    for quote in ['"', '\''] {
        if reader.skip(quote) {
            let value = reader.take_until(|c| c == quote).to_owned();
            reader.skip(quote);
            return (name, value);
        }
    }
    let value = reader.take_until(|c| c.is_ascii_whitespace() || c == '>').to_owned();
    (name, value)
}

/// Where the text of an element ends: before its end tag.
fn end_of_text(html: &str, from: usize, name: &str) -> usize {
    let lower = html[from..].to_ascii_lowercase();
    lower.find(&format!("</{name}")).map_or(html.len(), |end| from + end)
}

struct Reader<'a> {
    html: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.html[self.at..]
    }

    fn take_until(&mut self, stop: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(stop).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn skip(&mut self, expected: char) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.at += expected.len_utf8();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each element as `name attribute=value …`.
    fn found(html: &str) -> Vec<String> {
        let show = |element: &Element| {
            let attributes = element.attributes.iter().map(|(name, value)| format!(" {name}={value}"));
            format!("{}{}", element.name, attributes.collect::<String>())
        };
        trunk_elements(html).iter().map(show).collect()
    }

    #[test]
    fn elements_with_the_mark_are_found_with_their_attributes() {
        let table: [(&str, &[&str]); 8] = [
            ("<link rel=\"css\">", &[]),
            ("<link data-trunk rel=\"css\" href=\"a b.css\"/>", &["link data-trunk= href=a b.css rel=css"]),
            ("<LINK DATA-TRUNK Rel='css' href=a.css>", &["link data-trunk= href=a.css rel=css"]),
            (
                "<p><link data-trunk\n  rel = css ></p><link data-trunk>",
                &["link data-trunk= rel=css", "link data-trunk="],
            ),
            ("<!-- <link data-trunk> --><link data-trunk/>", &["link data-trunk="]),
            ("<script>\"<link data-trunk>\"</script>", &[]),
            ("<link data-trunk rel=\"a>b\" rel=c>", &["link data-trunk= rel=a>b"]),
            ("1 < 2 <link data-trunk", &["link data-trunk="]),
        ];
        for (html, expected) in table {
            assert_eq!(found(html), expected, "{html}");
        }
    }

    #[test]
    fn the_range_covers_the_whole_tag() {
        let html = "<head>é<link data-trunk rel=\"icon\" />\n</head>";
        let elements = trunk_elements(html);
        assert_eq!(&html[elements[0].range.clone()], "<link data-trunk rel=\"icon\" />");
    }

    proptest! {
        #[test]
        fn no_document_stops_the_reader(html in "[<>!/=\"' a-cé\n-]{0,60}") {
            let mut end = 0;
            for element in trunk_elements(&html) {
                prop_assert!(element.range.start >= end && html.is_char_boundary(element.range.end));
                end = element.range.end;
            }
        }

        #[test]
        fn every_attribute_that_is_written_is_read(
            pairs in prop::collection::btree_map("[a-z][a-z-]{0,8}", "[^\"]{0,8}", 0..6),
            before in "[a-z é\n]{0,8}",
        ) {
            let written: String = pairs.iter().map(|(name, value)| format!(" {name}=\"{value}\"")).collect();
            let elements = trunk_elements(&format!("{before}<link data-trunk{written}>"));
            let mut expected = pairs;
            expected.entry("data-trunk".to_owned()).or_default();
            prop_assert_eq!(&elements[0].attributes, &expected);
        }
    }
}
