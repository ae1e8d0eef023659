//! What `index.html` says the page is made of, and the document that comes out.
//!
//! Understands the part of Trunk's language that the page uses, and refuses the rest by name: an attribute that Trunk
//! obeys and we do not would make two different pages.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::page::html::{self, Element};

/// What addresses in the document begin with: the page works under any path. `Trunk.toml` says the same.
const PUBLIC_URL: &str = "./";

/// A program of the page: a crate that becomes WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// Path of its `Cargo.toml`, relative to the root of the repository.
    pub(crate) manifest: String,
    /// The binary to build, where the crate has several targets.
    pub(crate) binary: Option<String>,
    /// Cargo's build profile.
    pub(crate) profile: String,
    /// Cargo features, as on the command line.
    pub(crate) features: Option<String>,
    /// The level for `wasm-opt -O`.
    pub(crate) optimization: String,
    /// Whether a script that starts the program is made beside it. A Worker is started by such a script.
    pub(crate) loader: bool,
}

/// One `data-trunk` link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    Program(Program),
    Style { href: String },
    Icon { href: String },
    Copy { href: String },
}

/// `index.html`, understood.
#[derive(Debug)]
pub(crate) struct Description<'a> {
    source: &'a str,
    links: Vec<(Element, Link)>,
}

impl<'a> Description<'a> {
    /// # Errors
    /// Names the tag that cannot be understood, and why.
    pub(crate) fn parse(source: &'a str) -> Result<Self> {
        let mut links = Vec::new();
        for element in html::trunk_elements(source) {
            let link = link(&element).with_context(|| format!("index.html: {}", &source[element.range.clone()]))?;
            links.push((element, link));
        }
        Ok(Self { source, links })
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().map(|(_, link)| link)
    }

    /// The document of the built page: the source with every `data-trunk` link replaced by what it stands for.
    pub(crate) fn document(&self) -> String {
        let mut document = String::new();
        let mut at = 0;
        for (element, link) in &self.links {
            document.push_str(&self.source[at..element.range.start]);
            match link {
                Link::Style { href } => {
                    document.push_str(&format!(r#"<link rel="stylesheet" href="{PUBLIC_URL}{}"/>"#, file_name(href)));
                }
                Link::Icon { href } => {
                    document.push_str(&format!(r#"<link rel="icon" href="{PUBLIC_URL}{}"/>"#, file_name(href)));
                }
                Link::Program(_) | Link::Copy { .. } => {}
            }
            at = element.range.end;
        }
        document.push_str(&self.source[at..]);
        document
    }
}

/// The last part of a path in `index.html`.
pub(crate) fn file_name(href: &str) -> &str {
    href.rsplit_once('/').map_or(href, |(_, name)| name)
}

fn link(element: &Element) -> Result<Link> {
    if element.name != "link" {
        bail!("only <link data-trunk> is understood here");
    }
    let mut attributes = Attributes(element.attributes.clone());
    attributes.take("data-trunk");
    let rel = attributes.required("rel")?;
    let href = attributes.required("href")?;
    let link = match rel.as_str() {
        "rust" => Link::Program(program(href, &mut attributes)?),
        "css" => Link::Style { href },
        "icon" => Link::Icon { href },
        "copy-file" => Link::Copy { href },
        _ => bail!("rel=\"{rel}\" is not understood here; rust, css, icon and copy-file are"),
    };
    attributes.finish()?;
    Ok(link)
}

fn program(manifest: String, attributes: &mut Attributes) -> Result<Program> {
    let worker = match attributes.required("data-type")?.as_str() {
        "main" => false,
        "worker" => true,
        other => bail!("data-type=\"{other}\" should be main or worker"),
    };
    let module = match attributes.take("data-bindgen-target").as_deref() {
        None => !worker,
        Some(target) => target == "web",
    };
    if !module {
        bail!("data-bindgen-target should be web: the page's scripts are modules");
    }
    let loader = attributes.take("data-loader-shim").is_some();
    if worker != loader {
        bail!("data-loader-shim belongs on the worker, and only there");
    }
    Ok(Program {
        manifest,
        binary: attributes.take("data-bin"),
        profile: attributes.required("data-cargo-profile-release")?,
        features: attributes.take("data-cargo-features"),
        optimization: attributes.required("data-wasm-opt")?,
        loader,
    })
}

/// Attributes not yet understood.
struct Attributes(BTreeMap<String, String>);

impl Attributes {
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn required(&mut self, name: &str) -> Result<String> {
        self.take(name).filter(|value| !value.is_empty()).with_context(|| format!("the attribute {name} is missing"))
    }

    fn finish(self) -> Result<()> {
        match self.0.keys().next() {
            Some(name) => bail!("the attribute {name} is not understood here"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = r#"<link data-trunk rel="rust" href="web/Cargo.toml" data-type="main" data-cargo-profile-release="web" data-wasm-opt="z"/>"#;
    const WORKER: &str = r#"<link data-trunk rel="rust" href="wasm/Cargo.toml" data-bin="worker" data-type="worker" data-bindgen-target="web" data-loader-shim data-cargo-profile-release="web" data-wasm-opt="3"/>"#;

    fn parsed(source: &str) -> Vec<Link> {
        Description::parse(source).expect("understood").links().cloned().collect()
    }

    #[test]
    fn each_link_says_what_is_built() {
        let program = |manifest: &str, binary: Option<&str>, optimization: &str| {
            Link::Program(Program {
                manifest: manifest.to_owned(),
                binary: binary.map(str::to_owned),
                profile: "web".to_owned(),
                features: None,
                optimization: optimization.to_owned(),
                loader: binary.is_some(),
            })
        };
        let source = format!(r#"{MAIN}{WORKER}<link data-trunk rel="css" href="web/style/a.css"/>"#);
        let expected = [
            program("web/Cargo.toml", None, "z"),
            program("wasm/Cargo.toml", Some("worker"), "3"),
            Link::Style { href: "web/style/a.css".to_owned() },
        ];
        assert_eq!(parsed(&source), expected);
    }

    #[test]
    fn links_are_replaced_by_what_they_stand_for() {
        let source = format!(
            "<head>\n{MAIN}\n{WORKER}\n<link data-trunk rel=\"css\" href=\"web/style/a.css\"/>\n\
             <link data-trunk rel=\"icon\" href=\"web/i.svg\">\n<link data-trunk rel=\"copy-file\" href=\"b.js\">\n</head>"
        );
        let document = Description::parse(&source).expect("understood").document();
        let expected =
            "<head>\n\n\n<link rel=\"stylesheet\" href=\"./a.css\"/>\n<link rel=\"icon\" href=\"./i.svg\"/>\n\n</head>";
        assert_eq!(document, expected);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let table = [
            (r#"<link data-trunk rel="css">"#, "the attribute href is missing"),
            (r#"<link data-trunk href="a">"#, "the attribute rel is missing"),
            (r#"<link data-trunk rel="sass" href="a">"#, "rel=\"sass\" is not understood"),
            (r#"<link data-trunk rel="css" href="a" media="print">"#, "the attribute media is not understood"),
            (r#"<script data-trunk src="a.js"></script>"#, "only <link data-trunk>"),
            (&MAIN.replace("main", "module"), "should be main or worker"),
            (&MAIN.replace("data-wasm-opt=\"z\"", ""), "the attribute data-wasm-opt is missing"),
            (&MAIN.replace("data-trunk", "data-trunk data-loader-shim"), "belongs on the worker"),
            (&WORKER.replace("data-loader-shim", ""), "belongs on the worker"),
            (&WORKER.replace("data-bindgen-target=\"web\"", ""), "should be web"),
            (&MAIN.replace("data-trunk", "data-trunk data-bindgen-target=\"no-modules\""), "should be web"),
        ];
        for (source, expected) in table {
            let error = format!("{:#}", Description::parse(source).expect_err(source));
            assert!(error.starts_with("index.html: <") && error.contains(expected), "{source}: {error}");
        }
    }
}
