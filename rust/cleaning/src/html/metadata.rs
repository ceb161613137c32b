//! What a page says about itself: title, author, date, language, address, licence.
//!
//! Taken from `<meta>`, `<link>`, JSON-LD and the markup, in that order of trust for each field; never guessed from prose.

use html5ever::local_name;
use serde_json::Value;

use super::dom::{DOCUMENT, Dom, NONE, NodeId, named};

/// JSON-LD blocks longer than this are not read.
const MAX_JSON_BYTES: usize = 1 << 20;

/// The fields, where the page gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The page's own title, without the site's name where the heading shows which part that is.
    pub title: Option<String>,
    /// One or more names, joined by ", ".
    pub author: Option<String>,
    /// The day of publication, `YYYY-MM-DD`.
    pub date: Option<String>,
    /// BCP 47, as the page declares it.
    pub language: Option<String>,
    /// The canonical address, or the one the caller gave.
    pub url: Option<String>,
    /// The SPDX identifier where the licence link is a known one, else the link as it stands.
    pub licence: Option<String>,
}

/// Signs collected in one walk over the page.
#[derive(Default)]
struct Found {
    title_tag: Option<String>,
    heading: Option<String>,
    meta: Vec<(String, String)>,
    canonical: Option<String>,
    licence_link: Option<String>,
    badge: Option<String>,
    language: Option<String>,
    author_link: Option<String>,
    time: Option<String>,
    json: Vec<Value>,
}

/// Returns what the page says about itself; `url` is used where it gives no canonical address.
pub fn read(dom: &Dom, url: Option<&str>) -> Metadata {
    let found = collect(dom);
    let meta = |names: &[&str]| {
        names.iter().find_map(|name| found.meta.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    };
    let json = |key: &str| found.json.iter().find_map(|value| search(value, key, 0)).and_then(names);

    let title = meta(&["og:title", "twitter:title", "citation_title", "dc.title"]).or_else(|| {
        match (&found.heading, &found.title_tag) {
            (Some(heading), Some(title)) if title.contains(heading.as_str()) => Some(heading.clone()),
            (heading, title) => title.clone().or_else(|| heading.clone()),
        }
    });
    let date = meta(&[
        "article:published_time",
        "date",
        "dc.date",
        "dc.date.issued",
        "citation_publication_date",
        "datepublished",
    ])
    .or_else(|| json("datePublished"))
    .or_else(|| found.time.clone())
    .and_then(|raw| day(&raw));
    Metadata {
        title,
        author: meta(&["author", "citation_author", "dc.creator"])
            .or_else(|| json("author"))
            .or_else(|| meta(&["article:author"]))
            .filter(|name| !name.starts_with("http"))
            .or_else(|| found.author_link.clone()),
        date,
        language: found
            .language
            .clone()
            .or_else(|| meta(&["content-language", "og:locale", "dc.language"]))
            .and_then(|tag| language(&tag)),
        url: found
            .canonical
            .clone()
            .filter(|href| href.starts_with("http"))
            .or_else(|| meta(&["og:url"]).filter(|href| href.starts_with("http")))
            .or_else(|| url.map(str::to_owned)),
        licence: found
            .licence_link
            .clone()
            .or_else(|| json("license"))
            .or_else(|| meta(&["dc.rights.license", "dcterms.license"]))
            .or_else(|| found.badge.clone())
            .map(|link| spdx(&link).unwrap_or(link)),
    }
}

fn collect(dom: &Dom) -> Found {
    let mut found = Found::default();
    let mut at = DOCUMENT;
    while at != NONE {
        match *dom.tag(at) {
            local_name!("html") => {
                found.language = non_empty(
                    dom.attribute(at, local_name!("lang")).or_else(|| dom.attribute(at, local_name!("xml:lang"))),
                )
            }
            local_name!("title") if found.title_tag.is_none() => {
                found.title_tag = non_empty(Some(&dom.text_content(at)))
            }
            local_name!("h1") if found.heading.is_none() => {
                found.heading = non_empty(Some(heading_text(dom, at).trim()))
            }
            local_name!("meta") => {
                let key =
                    [local_name!("property"), local_name!("name"), local_name!("itemprop"), local_name!("http-equiv")]
                        .into_iter()
                        .find_map(|key| dom.attribute(at, key));
                if let (Some(key), Some(value)) = (key, non_empty(dom.attribute(at, local_name!("content")))) {
                    found.meta.push((key.to_ascii_lowercase(), value));
                }
            }
            local_name!("link") | local_name!("a") => link(dom, at, &mut found),
            local_name!("time") if found.time.is_none() => {
                found.time = non_empty(dom.attribute(at, local_name!("datetime")))
            }
            local_name!("script") if dom.attribute(at, local_name!("type")) == Some("application/ld+json") => {
                let first = dom.nodes[at as usize].first;
                let text = if first == NONE { None } else { dom.text(first) };
                if let Some(value) =
                    text.filter(|t| t.len() <= MAX_JSON_BYTES).and_then(|t| serde_json::from_str(t).ok())
                {
                    found.json.push(value);
                }
            }
            _ => {}
        }
        at = dom.following(at, DOCUMENT, false);
    }
    found
}

fn link(dom: &Dom, at: NodeId, found: &mut Found) {
    let Some(href) = non_empty(dom.attribute(at, local_name!("href"))) else { return };
    let rel = dom.attribute(at, local_name!("rel")).unwrap_or_default();
    for word in rel.split_ascii_whitespace() {
        match word.to_ascii_lowercase().as_str() {
            "canonical" if found.canonical.is_none() => found.canonical = Some(href.clone()),
            "license" | "licence" if found.licence_link.is_none() => found.licence_link = Some(href.clone()),
            "author" if found.author_link.is_none() && named!(dom.tag(at), "a") => {
                found.author_link = non_empty(Some(&dom.text_content(at)));
            }
            _ => {}
        }
    }
    if found.badge.is_none() && href.contains("creativecommons.org/") && spdx(&href).is_some() {
        found.badge = Some(href);
    }
}

/// The heading without its permalink mark.
fn heading_text(dom: &Dom, id: NodeId) -> String {
    dom.text_content(id).trim_end_matches(['¶', '#', ' ', '\u{f0c1}']).to_owned()
}

fn non_empty(text: Option<&str>) -> Option<String> {
    text.map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned)
}

/// The value of `key` in a JSON-LD object, its `@graph`, or a list of them.
fn search<'a>(value: &'a Value, key: &str, depth: u32) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map
            .get(key)
            .or_else(|| map.get("@graph").filter(|_| depth < 4).and_then(|graph| search(graph, key, depth + 1))),
        Value::Array(items) if depth < 4 => items.iter().find_map(|item| search(item, key, depth + 1)),
        _ => None,
    }
}

/// A string, the `name` or `url` of an object, or a list of those.
fn names(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => non_empty(Some(text)),
        Value::Object(map) => ["name", "url"]
            .iter()
            .find_map(|key| map.get(*key).and_then(Value::as_str))
            .and_then(|t| non_empty(Some(t))),
        Value::Array(items) => {
            let all: Vec<String> = items.iter().filter(|item| !item.is_array()).filter_map(names).collect();
            (!all.is_empty()).then(|| all.join(", "))
        }
        _ => None,
    }
}

/// `YYYY-MM-DD` at the start of `raw` (with `-` or `/`), if it is a day.
fn day(raw: &str) -> Option<String> {
    let raw = raw.trim().replace('/', "-");
    let mut parts = raw.get(..10)?.split('-');
    let (year, month, date) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
    let in_range = |part: &str, max: u32| part.parse::<u32>().is_ok_and(|n| (1..=max).contains(&n));
    (digits(year, 4) && digits(month, 2) && digits(date, 2) && in_range(month, 12) && in_range(date, 31))
        .then(|| raw[..10].to_owned())
}

/// A BCP 47 tag with `-` between its parts, if `raw` looks like one.
fn language(raw: &str) -> Option<String> {
    let tag = raw.split([',', ';']).next()?.trim().replace('_', "-");
    let mut parts = tag.split('-');
    let primary = parts.next()?;
    let plausible = (2..=3).contains(&primary.len())
        && primary.bytes().all(|b| b.is_ascii_alphabetic())
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    plausible.then(|| tag.replacen(primary, &primary.to_ascii_lowercase(), 1))
}

/// The SPDX identifier of a licence link, where the link alone tells it.
fn spdx(link: &str) -> Option<String> {
    let lower = link.to_ascii_lowercase();
    let path = lower.split("://").nth(1).unwrap_or(&lower).trim_start_matches("www.");
    if let Some(rest) = path.strip_prefix("creativecommons.org/") {
        let mut parts = rest.split('/').filter(|part| !part.is_empty());
        let kind = parts.next()?;
        let (name, version) = (parts.next()?, parts.next());
        let version = version.filter(|v| v.len() == 3 && v.as_bytes()[1] == b'.');
        return match (kind, name, version) {
            ("publicdomain", "zero", _) => Some("CC0-1.0".to_owned()),
            ("publicdomain", "mark", _) => Some("LicenseRef-public-domain".to_owned()),
            ("licenses", "by" | "by-sa" | "by-nd" | "by-nc" | "by-nc-sa" | "by-nc-nd", Some(version)) => {
                Some(format!("CC-{}-{version}", name.to_ascii_uppercase()))
            }
            _ => None,
        };
    }
    const KNOWN: &[(&str, &str)] = &[
        ("opensource.org/licenses/mit", "MIT"),
        ("opensource.org/license/mit", "MIT"),
        ("apache.org/licenses/license-2.0", "Apache-2.0"),
        ("opensource.org/licenses/apache-2.0", "Apache-2.0"),
        ("opensource.org/licenses/bsd-3-clause", "BSD-3-Clause"),
        ("opensource.org/licenses/bsd-2-clause", "BSD-2-Clause"),
        ("gnu.org/licenses/fdl-1.3", "GFDL-1.3-or-later"),
        ("mozilla.org/mpl/2.0", "MPL-2.0"),
        ("unlicense.org", "Unlicense"),
    ];
    KNOWN.iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, id)| (*id).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_links_become_spdx_only_when_the_link_tells() {
        assert_eq!(spdx("https://creativecommons.org/licenses/by-sa/4.0/deed.en").as_deref(), Some("CC-BY-SA-4.0"));
        assert_eq!(spdx("http://creativecommons.org/publicdomain/zero/1.0/").as_deref(), Some("CC0-1.0"));
        assert_eq!(spdx("https://creativecommons.org/licenses/by/").as_deref(), None);
        assert_eq!(spdx("/legal"), None);
    }

    #[test]
    fn days_and_languages_are_checked() {
        assert_eq!(day("2024-02-29T10:00:00Z").as_deref(), Some("2024-02-29"));
        assert_eq!(day("2024/13/01"), None);
        assert_eq!(day("été 2024 déjà"), None);
        assert_eq!(language("EN_us").as_deref(), Some("en-us"));
        assert_eq!(language("english language"), None);
    }
}
