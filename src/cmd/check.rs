//! `sarsen check`: is it all there, is it what it should be, and bringing it back; and `sarsen cap repair`.

use std::collections::BTreeMap;
use std::path::Path;

use caps::{Authority, Cap, VerifyHash};
use client::check::{CheckOptions, DeepTotals, Grade, Health, Renewal, State};

use super::long::day;
use super::long::without_controls;
use super::session::{self, Session};
use super::target::At;
use crate::cli::{Check, Renew, Thoroughness};
use crate::out::{Lines, say};
use crate::report::{NotLeased, Verdict};
use crate::sizes::{plural, things};

/// Reports that wait for their names, at most; the others are told without.
const UNNAMED: usize = 10_000;
/// A share stays where it is: a check that is interrupted is simply made again.
const HINT: &str = "what was repaired until then stays; the same command may be given again";

pub(crate) async fn run(home: &Path, args: &Check, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, HINT, async |session| {
        let grade = match (args.verify, args.samples) {
            (Some(Thoroughness::Full), _) => Grade::Full,
            (Some(Thoroughness::Sampled), _) => Grade::Sampled { chunks: None },
            (None, Some(chunks)) => Grade::Sampled { chunks: Some(chunks) },
            (None, None) => Grade::Claimed,
        };
        let renew = args.renew.then_some(Renewal::WhileAlive);
        let options = CheckOptions { grade, repair: args.repair, renew };
        if args.repair {
            // Who is silent counts as lost.
            session.client.grid().away().be_patient();
        }
        let mut out = Lines::new();
        let mut totals = DeepTotals::default();
        for path in &args.paths {
            let at = session.at(path)?;
            let cap = at.resolve(&session.client).await?.cap;
            let of = Checking { session: &session.under(&at), args, options, shown: at.below(&[]) };
            if args.recursive {
                of.all(&at, cap, &mut totals, &mut out).await?;
            } else {
                of.one(&cap, &mut totals, &mut out).await?;
            }
        }
        if args.recursive || args.json || args.paths.len() > 1 {
            summary(&totals, grade, args.json, &mut out)?;
        }
        out.finish()?;
        verdict(&totals, args.repair)
    })
    .await
}

/// Adds or renews leases on a whole tree.
pub(crate) async fn renew(home: &Path, args: &Renew, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, HINT, async |session| {
        let at = session.at(&args.path)?;
        // What is kept for the sake of the root is leased under the root's tag.
        let session = &session.under(&at);
        let cap = at.resolve(&session.client).await?.cap;
        let renewal = args.duration.map_or(Renewal::WhileAlive, Renewal::Seconds);
        let options = CheckOptions { grade: Grade::Unseen, repair: false, renew: Some(renewal) };
        let totals = session.client.check_tree(vec![cap], options).finish().await;
        refused_all(&totals)?;
        let DeepTotals { leased, leases, not_renewed, root_only, unknown, .. } = totals;
        if args.json {
            let line = serde_json::json!({
                "objects": leased, "leases": leases, "servers-failed": not_renewed, "root-only": root_only, "unknown": unknown,
            });
            say!("{line}")?;
        } else {
            say!("{}, {} on all servers together", things(leased), plural(leases, "lease"))?;
        }
        if not_renewed > 0 {
            session.note(format_args!("note: some servers did not answer or refused, and keep what they have by the leases they know"));
            return Err(Verdict::NotAllRenewed.into());
        }
        verdict(&totals, false)
    })
    .await
}

/// Prints the cap that checks and repairs a tree and reads none of it.
pub(crate) async fn repair_cap(home: &Path, path: &str, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let cap = session.at(path)?.resolve(&session.client).await?.cap;
        let repair = session.client.repair_cap(&cap).await?;
        let repair = repair.ok_or(client::check::CheckError::Literal)?;
        if repair.authority() < Authority::Repair && cap.authority() > Authority::Verify {
            session.note(format_args!("note: nothing lies below it: its verify cap is all that is needed"));
        }
        say!("{repair}")?;
        Ok(())
    })
    .await
}

struct Checking<'s> {
    session: &'s Session,
    args: &'s Check,
    options: CheckOptions,
    /// The path as it was given.
    shown: String,
}

impl Checking<'_> {
    async fn one(&self, cap: &Cap, totals: &mut DeepTotals, out: &mut Lines) -> anyhow::Result<()> {
        match self.session.client.check(cap, self.options).await? {
            None => out.line(format_args!("{}: healthy (the capability itself holds it)", self.name()))?,
            Some(health) => {
                totals.count(&health);
                self.tell(&health, &self.name(), out)?;
                // What hangs off a directory or a large file is not what was asked about, and nobody shall think so.
                if cap.is_directory() && !self.args.json {
                    self.session
                        .note(format_args!("note: that is the directory alone; `-r` checks what is in it"));
                }
            }
        }
        Ok(())
    }

    async fn all(&self, at: &At, cap: Cap, totals: &mut DeepTotals, out: &mut Lines) -> anyhow::Result<()> {
        let mut checking = self.session.client.check_tree(vec![cap.clone()], self.options);
        // The check itself reads no names: what is ill waits until they are read, as far as memory goes.
        let names = !self.args.json && cap.authority() >= Authority::Read;
        let mut ill = BTreeMap::new();
        while let Some(health) = checking.next().await {
            if health.state != State::Healthy && names && ill.len() < UNNAMED {
                ill.insert(health.hash, health);
            } else if self.args.json || health.state != State::Healthy {
                self.tell(&health, &nameless(&health), out)?;
            }
        }
        *totals += checking.finish().await;
        if !ill.is_empty() {
            self.name_them(at, &cap, ill, out).await?;
        }
        Ok(())
    }

    /// Says what is ill, and under which names; of parts of large files and directories, which have none, what they are.
    async fn name_them(
        &self,
        at: &At,
        root: &Cap,
        mut ill: BTreeMap<VerifyHash, Health>,
        out: &mut Lines,
    ) -> anyhow::Result<()> {
        let mut walk = self.session.client.walk(root);
        while !ill.is_empty() {
            let walked = match walk.next().await {
                Ok(Some(walked)) => walked,
                Ok(None) => break,
                // What cannot be read is told of below.
                Err(_) => continue,
            };
            if let Some(health) = walked.cap.verify_hash().and_then(|hash| ill.remove(&hash)) {
                self.tell(&health, &shown(&at.below(&walked.path)), out)?;
            }
        }
        for health in ill.into_values() {
            self.tell(&health, &format!("part of something, {}", nameless(&health)), out)?;
        }
        Ok(())
    }

    fn name(&self) -> String {
        shown(&self.shown)
    }

    fn tell(&self, health: &Health, name: &str, out: &mut Lines) -> anyhow::Result<()> {
        if self.args.json {
            out.line(format_args!("{}", self.json(health)))?;
            return Ok(());
        }
        let is_slot = health.is_slot();
        let what = if is_slot { "members" } else { "shares" };
        let Health { good, total, needed, .. } = health;
        let grade = format!(" ({})", grade_text(health));
        let found = format!("{good} of {total} {what}, {needed} needed{grade}");
        match health.after {
            None => out.line(format_args!("{name}: {}: {found}", state_name(health.state)))?,
            Some(after) => {
                let made = health.made.len();
                let (before, now) = (state_name(health.state), state_name(after));
                let done = if health.is_repaired() { "repaired" } else { now };
                out.line(format_args!("{name}: {done}: it was {before}; {made} brought back; {found}"))?;
            }
        }
        if !is_slot && health.happiness < health.happy {
            let (on, wanted) = (health.happiness, health.happy);
            out.line(format_args!("  on {on} servers that each have one of their own, {wanted} are wanted"))?;
        }
        for bad in &health.bad {
            let server = bad.server.name();
            out.line(format_args!("  share {} on {server} is bad: {}", bad.number, bad.reason))?;
        }
        if let Some(wrong) = &health.wrong_encoding {
            out.line(format_args!("  {wrong}; no server is to blame"))?;
        }
        if health.now() != State::Healthy {
            for problem in &health.problems {
                out.line(format_args!("  {}", without_controls(problem)))?;
            }
        }
        Ok(())
    }

    fn json(&self, health: &Health) -> serde_json::Value {
        let grid = self.session.client.grid();
        let holders = health.holders.iter().map(|(number, servers)| {
            let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
            (number.to_string(), servers.into())
        });
        let bad = health.bad.iter().map(|bad| {
            serde_json::json!({ "share": bad.number, "server": bad.server.id.to_string(), "reason": bad.reason })
        });
        let made = health.made.iter().map(|(number, id)| {
            let name = grid.server_of(id).unwrap_or_else(|| grid.server(id)).name();
            serde_json::json!({ "share": number, "server": id.to_string(), "name": name })
        });
        serde_json::json!({
            "type": if health.is_slot() { "slot" } else { "object" },
            "cap": health.cap.to_string(),
            "storage-index": health.hash.to_string(),
            "path": (!self.args.recursive).then(|| self.shown.clone()),
            "state": state_name(health.state),
            "after": health.after.map(state_name),
            "grade": grade_name(health.grade),
            "samples": health.sampled,
            "scrubbed": health.scrubbed_s,
            "good": health.good,
            "needed": health.needed,
            "total": health.total,
            "happiness": health.happiness,
            "holders": holders.collect::<serde_json::Map<_, _>>(),
            "bad": bad.collect::<Vec<_>>(),
            "made": made.collect::<Vec<_>>(),
            "problems": health.problems,
            "wrong-encoding": health.wrong_encoding,
        })
    }
}

/// What has no name here, shortly.
fn nameless(health: &Health) -> String {
    let kind = if health.is_slot() { "slot" } else { "object" };
    format!("{kind} {}", &health.hash.to_string()[..8])
}

/// A path before a colon: that of an alias ends with one.
fn shown(path: &str) -> String {
    let path = without_controls(path);
    path.strip_suffix(':').map(str::to_owned).unwrap_or(path)
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Healthy => "healthy",
        State::Unhealthy => "unhealthy",
        State::Unrecoverable => "unrecoverable",
    }
}

fn grade_name(grade: Grade) -> &'static str {
    match grade {
        Grade::Unseen => "unseen",
        Grade::Claimed => "claimed",
        Grade::Sampled { .. } => "sampled",
        Grade::Full => "full",
    }
}

/// The grade, and what there is to say of it.
fn grade_text(health: &Health) -> String {
    let name = grade_name(health.grade);
    match health.grade {
        Grade::Sampled { .. } if !health.is_slot() => match health.sampled {
            Some(chunks) => format!("{name}: {chunks} pieces of each share"),
            None => format!("{name}: shares so short that they came whole"),
        },
        Grade::Claimed => match health.scrubbed_s.and_then(day) {
            Some(day) => format!("{name}, scrubbed {day}"),
            None => name.to_owned(),
        },
        _ => name.to_owned(),
    }
}

fn summary(totals: &DeepTotals, grade: Grade, json: bool, out: &mut Lines) -> anyhow::Result<()> {
    let fields = [
        ("objects", totals.objects),
        ("slots", totals.slots),
        ("healthy", totals.healthy),
        ("repaired", totals.repaired),
        ("unhealthy", totals.unhealthy),
        ("unrecoverable", totals.unrecoverable),
        ("bad-shares", totals.bad_shares),
        ("unknown", totals.unknown),
        ("leased", totals.leased),
        ("not-renewed", totals.not_renewed),
        ("root-only", totals.root_only),
    ];
    if json {
        let mut line: serde_json::Map<String, serde_json::Value> =
            fields.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
        line.insert("type".into(), "totals".into());
        line.insert("grade".into(), grade_name(grade).into());
        return out.line(format_args!("{}", serde_json::Value::from(line)));
    }
    let told: Vec<String> = fields
        .into_iter()
        .filter(|(name, count)| *count > 0 || *name == "healthy")
        .map(|(name, count)| match name.strip_suffix('s') {
            Some(one) => plural(count, one),
            None => format!("{count} {name}"),
        })
        .collect();
    out.line(format_args!("{} ({})", told.join(", "), grade_name(grade)))
}

/// Whether leases were wanted and every server that answered refuses this account.
fn refused_all(totals: &DeepTotals) -> Result<(), NotLeased> {
    match totals.refused {
        Some(code) if totals.leases == 0 => Err(NotLeased { code }),
        _ => Ok(()),
    }
}

/// How to exit: by the worst that is left.
fn verdict(totals: &DeepTotals, repaired: bool) -> anyhow::Result<()> {
    let verdict = match totals {
        DeepTotals { unrecoverable: 1.., .. } => Verdict::Unrecoverable,
        DeepTotals { unhealthy: 1.., .. } if repaired => Verdict::StillUnhealthy,
        DeepTotals { unhealthy: 1.., .. } => Verdict::Unhealthy,
        DeepTotals { root_only: 1.., .. } | DeepTotals { unknown: 1.., .. } => Verdict::NotAll,
        DeepTotals { not_renewed: 1.., .. } => Verdict::NotAllRenewed,
        DeepTotals { repaired: 1.., .. } => Verdict::Repaired,
        _ => return Ok(()),
    };
    Err(verdict.into())
}
