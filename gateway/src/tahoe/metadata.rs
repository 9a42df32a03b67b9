//! What is said of an entry, as Tahoe says it in JSON, and back.

use encoding::directory::{MAX_EXTRA_LEN, Metadata, Time};
use serde_json::{Map, Number, Value, json};

use super::answer::Problem;

/// The field that holds, as JSON, what Tahoe's programs say and we have no field for (`docs/spec/directories.md`).
const OTHERS: u64 = 16;

/// As Tahoe shows it.
pub(super) fn to_json(metadata: &Metadata) -> Value {
    let mut out = others(metadata);
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };
    set("mtime", metadata.mtime.map(seconds));
    set("ctime", metadata.ctime.map(seconds));
    set("st_mode", metadata.mode.map(Value::from));
    set("st_uid", metadata.uid.map(Value::from));
    set("st_gid", metadata.gid.map(Value::from));
    let mut link = Map::new();
    if let Some(time) = metadata.link_created {
        link.insert("linkcrtime".into(), seconds(time));
    }
    if let Some(time) = metadata.link_modified {
        link.insert("linkmotime".into(), seconds(time));
    }
    out.insert("tahoe".into(), link.into());
    out.into()
}

/// As Tahoe's programs give it. What they say under `tahoe` is ours to say.
pub(super) fn of_json(value: &Value) -> Result<Metadata, Problem> {
    let Value::Object(given) = value else { return Err(Problem::bad("metadata is no JSON object")) };
    let mut metadata = Metadata::default();
    let mut others = Map::new();
    for (name, value) in given {
        let small = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let known = match name.as_str() {
            "tahoe" => true,
            "mtime" => time(value).is_some_and(|time| metadata.mtime.replace(time).is_none()),
            "ctime" => time(value).is_some_and(|time| metadata.ctime.replace(time).is_none()),
            "st_mode" => small.is_some_and(|mode| metadata.mode.replace(mode).is_none()),
            "st_uid" => small.is_some_and(|uid| metadata.uid.replace(uid).is_none()),
            "st_gid" => small.is_some_and(|gid| metadata.gid.replace(gid).is_none()),
            _ => false,
        };
        if !known {
            others.insert(name.clone(), value.clone());
        }
    }
    if !others.is_empty() {
        let text = Value::from(others).to_string();
        if text.len() + 8 > MAX_EXTRA_LEN {
            return Err(Problem::bad(format!("metadata of more than {} bytes", MAX_EXTRA_LEN - 8)));
        }
        metadata.extra.insert(OTHERS, text.into_bytes());
    }
    Ok(metadata)
}

/// Whether a link to something that may be written is to grant reading only.
pub(super) fn forbids_writing(metadata: &Metadata) -> bool {
    others(metadata).get("no-write").is_some_and(|value| value == &json!(true))
}

fn others(metadata: &Metadata) -> Map<String, Value> {
    let text = metadata.extra.get(&OTHERS);
    text.and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default()
}

fn seconds(time: Time) -> Value {
    // What has no part of a second is shown so: Tahoe compares whole numbers.
    match time.nanoseconds {
        0 => time.seconds.into(),
        part => {
            Number::from_f64(time.seconds as f64 + f64::from(part) / 1e9).map_or(Value::Null, Value::Number)
        }
    }
}

fn time(value: &Value) -> Option<Time> {
    if let Some(seconds) = value.as_i64() {
        return Some(Time { seconds, nanoseconds: 0 });
    }
    let given = value.as_f64().filter(|given| given.abs() < 9e15)?;
    let seconds = given.floor();
    let nanoseconds = ((given - seconds) * 1e9) as u32;
    Some(Time { seconds: seconds as i64, nanoseconds: nanoseconds.min(999_999_999) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tahoe_says_comes_back() {
        let given = json!({ "mtime": 1_700_000_000.5, "ctime": -1, "st_mode": 33188, "st_ino": 77, "no-write": true,
                            "st_uid": -2, "tahoe": { "linkcrtime": 1 } });
        let metadata = of_json(&given).unwrap();
        assert_eq!(metadata.mtime, Some(Time { seconds: 1_700_000_000, nanoseconds: 500_000_000 }));
        assert_eq!((metadata.mode, metadata.uid, metadata.link_created), (Some(33188), None, None));
        assert!(forbids_writing(&metadata));
        let mut back = to_json(&metadata);
        assert_eq!(back["tahoe"], json!({}));
        back["tahoe"] = given["tahoe"].clone();
        assert_eq!(back, given);
        assert!(of_json(&json!({ "x": "y".repeat(MAX_EXTRA_LEN) })).is_err());
    }
}
