//! An agent's state in the OpenMetrics text format, for a collector that reads files.

use std::fmt::Write;

use super::state::{AgentState, RootState};

/// A metric of each root: name, help, and how it is read off.
type OfRoot = (&'static str, &'static str, fn(&RootState) -> u64);

const GAUGES: [OfRoot; 13] = [
    ("objects", "Immutable objects below the root.", |root| root.found.objects),
    ("slots", "Slots below the root.", |root| root.found.slots),
    ("healthy", "Objects and slots that are healthy.", |root| root.found.healthy),
    ("unhealthy", "Objects and slots of which something is missing.", |root| root.found.unhealthy),
    ("unrecoverable", "Objects and slots of which too little is left.", |root| root.found.unrecoverable),
    ("repaired", "Objects and slots that the last check brought back.", |root| root.found.repaired),
    ("bad_shares", "Shares that are not what they should be.", |root| root.found.bad_shares),
    ("unchecked", "Things that could not be checked.", |root| root.found.root_only + root.found.unknown),
    ("leased", "Objects and slots leased by the agent's account.", |root| root.found.leased),
    ("not_renewed", "Leases that could not be renewed.", |root| root.found.not_renewed),
    ("slot_copies", "Copies of slots on stores that are no members.", |root| root.found.copies),
    ("failures", "Checks that could not be made since the last that could.", |root| root.failures.into()),
    ("longest_healed_seconds", "The longest time from seen ill to healthy.", |root| root.longest_healed_s),
];

/// The state as metrics at this time (seconds since 1970). No capability stands in it.
pub fn metrics(state: &AgentState, now: u64) -> String {
    let mut out = String::new();
    family(&mut out, "servers", "gauge", "Servers known to the agent.");
    line(&mut out, "servers", "", state.servers);
    family(&mut out, "servers_silent", "gauge", "Servers that did not answer the last time.");
    line(&mut out, "servers_silent", "", state.silent);
    for (name, help, value) in GAUGES {
        family(&mut out, name, "gauge", help);
        for (root, known) in &state.roots {
            line(&mut out, name, &label(root), value(known));
        }
    }
    family(&mut out, "healed", "counter", "Objects and slots that were ill and are healthy again.");
    for (root, known) in &state.roots {
        line(&mut out, "healed_total", &label(root), known.healed);
    }
    family(&mut out, "ill_seconds", "gauge", "How long what is ill longest has been so.");
    for (root, known) in &state.roots {
        let since = known.ill_since().map_or(0, |since| now.saturating_sub(since));
        line(&mut out, "ill_seconds", &label(root), since);
    }
    family(&mut out, "checked_timestamp_seconds", "gauge", "When the last check by each grade ended.");
    for (root, known) in &state.roots {
        for (grade, at) in &known.checked {
            let labels = format!("{},grade=\"{}\"", label(root), escaped(grade));
            line(&mut out, "checked_timestamp_seconds", &labels, *at);
        }
    }
    out.push_str("# EOF\n");
    out
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# TYPE sarsen_agent_{name} {kind}\n# HELP sarsen_agent_{name} {help}\n");
}

fn line(out: &mut String, name: &str, labels: &str, value: u64) {
    let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(out, "sarsen_agent_{name}{labels} {value}");
}

fn label(root: &str) -> String {
    format!("root=\"{}\"", escaped(root))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_their_labels() {
        let mut state = AgentState::default();
        let mut root = RootState { healed: 3, ..RootState::default() };
        root.checked.insert("claimed".into(), 77);
        state.roots.insert("a\"} 1\n\\".into(), root);
        let text = metrics(&state, 100);
        assert!(text.contains("sarsen_agent_healed_total{root=\"a\\\"} 1\\n\\\\\"} 3\n"), "{text}");
        assert!(text.contains("grade=\"claimed\"} 77\n") && text.ends_with("# EOF\n"), "{text}");
        for line in text.lines() {
            assert!(line.starts_with("# ") || line.starts_with("sarsen_agent_"), "{line}");
        }
    }
}
