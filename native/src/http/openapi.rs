//! `/openapi.json`: the interface as programs read it (OpenAPI 3.1), made from the very table that the router is made from.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value, json};

use super::access::Access;
use super::routes::{OPERATIONS, Operation};

/// What is said about an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    /// One line.
    pub(crate) summary: &'static str,
    /// Parameters of the query, and headers; those of the path are in the path.
    pub(crate) parameters: &'static [Parameter],
    /// The fields of a JSON body; none takes no body.
    pub(crate) body: &'static [Field],
    /// Whether the body may also be bytes of any other type.
    pub(crate) takes_bytes: bool,
    /// The status of success.
    pub(crate) status: u16,
    /// The content type of success.
    pub(crate) answer: &'static str,
}

/// A parameter of the query, or a header if its name begins with a capital.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter(pub(crate) &'static str, pub(crate) Kind, pub(crate) &'static str);

/// A field of a JSON body: its name, what it is, and what it means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field(pub(crate) &'static str, pub(crate) Kind, pub(crate) &'static str);

/// What a parameter or a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A text that must be there.
    Needed,
    Whole,
    Flag,
    /// A number of answers, or all.
    Quorum,
    /// Any JSON.
    Any,
    /// Any JSON that must be there.
    AnyNeeded,
    Object,
    Texts,
}

impl Kind {
    fn schema(self) -> Value {
        match self {
            Self::Text | Self::Needed => json!({ "type": "string" }),
            Self::Whole => json!({ "type": "integer", "minimum": 0 }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Quorum => json!({ "oneOf": [{ "type": "integer", "minimum": 1 }, { "const": "all" }] }),
            Self::Any | Self::AnyNeeded => json!({}),
            Self::Object => json!({ "type": "object" }),
            Self::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        }
    }

    fn is_needed(self) -> bool {
        matches!(self, Self::Needed | Self::AnyNeeded)
    }
}

/// The document.
pub(crate) async fn document() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| describe().to_string());
    let mut response = Response::new(Body::from(TEXT.as_str()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn describe() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path.replace("{*", "{")).or_insert_with(|| json!({}));
        path[operation.method] = operation_text(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quorate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A replicated key-value store in the manner of Dynamo. Tokens are asked for where a node was \
                            started with --tokens-file; x-role says which role an operation needs then.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Error": error_schema() },
            "responses": {
                "Error": {
                    "description": "It failed; the code says why.",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
                },
            },
        },
    })
}

fn operation_text(operation: &Operation) -> Value {
    let about = &operation.about;
    let mut text = json!({
        "operationId": operation_id(operation),
        "summary": about.summary,
        "parameters": parameters(operation),
        "responses": {
            about.status.to_string(): {
                "description": "It succeeded.",
                "content": { about.answer: {} },
            },
            "default": { "$ref": "#/components/responses/Error" },
        },
    });
    if !about.body.is_empty() {
        let needed: Vec<&str> = about.body.iter().filter(|field| field.1.is_needed()).map(|field| field.0).collect();
        let fields: Map<String, Value> = about.body.iter().map(|field| property(field.0, field.1, field.2)).collect();
        let schema = json!({ "type": "object", "properties": fields, "required": needed });
        text["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
        if about.takes_bytes {
            text["requestBody"]["content"]["*/*"] = json!({});
        }
    }
    if let Some(role) = operation.access.role() {
        text["security"] = json!([{}, { "token": [] }]);
        text["x-role"] = json!(role.to_string());
    }
    if operation.access == Access::Anyone {
        text["description"] = json!("Needs no token, and is answered while the node stops, too.");
    }
    text
}

fn property(name: &str, kind: Kind, meaning: &str) -> (String, Value) {
    let mut schema = kind.schema();
    schema["description"] = json!(meaning);
    (name.to_owned(), schema)
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let in_path = operation.path.split_once("{*").map(|(_, name)| {
        let name = name.trim_end_matches('}');
        let meaning = "1 to 1,024 bytes of UTF-8, percent-encoded; a slash is %2F";
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" }, "description": meaning })
    });
    let named = operation.about.parameters.iter().map(|Parameter(name, kind, meaning)| {
        let place = if name.starts_with(|c: char| c.is_ascii_uppercase()) { "header" } else { "query" };
        let needed = kind.is_needed();
        json!({ "name": name, "in": place, "required": needed, "schema": kind.schema(), "description": meaning })
    });
    in_path.into_iter().chain(named).collect()
}

/// A name that is this operation's alone: `get_api_v1_data_key`.
fn operation_id(operation: &Operation) -> String {
    let words = operation.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(operation.method).chain(words).collect::<Vec<_>>().join("_")
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "retryable"],
                "properties": {
                    "code": { "type": "string", "examples": ["not_found", "quorum_not_met"] },
                    "message": { "type": "string", "description": "For people: what was wrong, and what would be right." },
                    "retryable": { "type": "boolean", "description": "Whether the same request may succeed later." },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_is_described_once_under_a_name_of_its_own() {
        let document = describe();
        let mut names = BTreeSet::new();
        for operation in OPERATIONS {
            let text = &document["paths"][operation.path.replace("{*", "{")][operation.method];
            assert!(text["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{}", operation.path);
            assert!(names.insert(text["operationId"].as_str().expect("a name").to_owned()), "{}", operation.path);
        }
        let described: usize = document["paths"]
            .as_object()
            .expect("paths")
            .values()
            .filter_map(|path| path.as_object())
            .map(Map::len)
            .sum();
        assert_eq!(described, OPERATIONS.len(), "no two operations share a method and a path");
    }
}
